"""Error, size, and speed of the mechanisms beside their peers and the theoretical optimum; prints Markdown tables.

Zipf data (exponent 1) over k categories, 100,000 devices, 20 repetitions. Error: n times the squared error, averaged
over categories and repetitions, over that of subset selection without a payload limit, the best there is
(Ye & Barg 2017). Ours are sampled from their exact odds with NumPy, since OpenDP's own 10⁸ draws would
take hours; tests/privacy compares the two. Client speed is that of real OpenDP draws.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from discreet_contract.mechanisms.catalogue import Shape, best, build
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.local_hashing import LinearLocalHashing
from discreet_contract.mechanisms.subset_selection import SubsetSelection

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]

SIZES = (4, 16, 128, 1024, 10_000)
EPSILONS = (0.5, 1.0, 2.0, 4.0)
DEVICES = 100_000
REPETITIONS = 20
CLIENT_DRAWS = 1000
SERVER_REPORTS = 1_000_000
PEER_SECONDS = 2.0
ORACLES = ("pure.DE", "pure.OUE", "pure.OLH", "pure.HR", "multi.GRR", "multi.SS")
ABOVE_K_ARY = {"pure.DE": 8, "multi.GRR": 8}  # an oracle whose optimum is passed by so many times is not run
MOST_CATEGORIES = {"multi.SS": 1024}  # its sets grow with k: 10,000 categories take minutes for a batch


@dataclass(frozen=True, slots=True)
class Row:
    """One mechanism or oracle on one data set."""

    name: str
    exact: float | None  # the error that its odds say
    error: float  # measured, over the optimum
    standard_error: float
    payload_bytes: float
    client: float  # reports/s
    server: float  # reports/s
    decode_ms: float | None


def main(peers: str) -> None:
    """Measure and print both tables."""
    print("| k | ε | who | by its odds | error / optimum | bytes | client reports/s | server reports/s | decode ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for k in SIZES:
        for epsilon in EPSILONS:
            rows = [ours(k, epsilon), *best_of_each(their(peers, k, epsilon))]
            for row in rows:
                decode = "" if row.decode_ms is None else f"{row.decode_ms:.2f}"
                exact = "" if row.exact is None else f"{row.exact:.3f}"
                error = f"{row.error:.3f} ± {row.standard_error:.3f}"
                cells = [str(k), f"{epsilon:g}", row.name, exact, error, f"{row.payload_bytes:g}"]
                cells += [f"{row.client:,.0f}", f"{row.server:,.0f}", decode]
                print(f"| {' | '.join(cells)} |", flush=True)
    print("\n| ε | who | worst n·variance / range² | hybrid mechanism | discrete Laplace | bytes |")
    print("| --- | --- | --- | --- | --- | --- |")
    for epsilon in (0.25, *EPSILONS[:2], 1.5, *EPSILONS[2:]):
        print(means(epsilon), flush=True)


def optimum(k: int, epsilon: float) -> float:
    """Mean over categories of n·variance of subset selection with its best size."""
    e, least = math.exp(epsilon), math.inf
    for w in range(1, k // 2 + 1):
        p = w * e / (w * e + k - w)
        b = (w - p) / (k - 1)
        rare, full = (x * (1 - x) / (p - b) ** 2 for x in (b, p))
        least = min(least, rare + (full - rare) / k)
    return least


def ours(k: int, epsilon: float) -> Row:
    """What `best` takes, measured."""
    labels = tuple(map(str, range(k)))
    mechanism: Any = build(best("category", epsilon, Shape(labels)), epsilon, labels, (0, 1))
    rng, chances = np.random.default_rng(2), 1 / np.arange(1, k + 1)
    chances /= chances.sum()
    errors, decode = [], []
    for _ in range(REPETITIONS):
        values = rng.choice(k, DEVICES, p=chances)
        sums = mechanism.accumulate(sample(mechanism, values, rng)).tolist()
        began = time.perf_counter()
        mechanism.supports(sums)
        decode.append(time.perf_counter() - began)
        shares = np.array(mechanism.estimate(sums))
        errors.append(DEVICES * np.mean((shares - np.bincount(values, minlength=k) / DEVICES) ** 2))
    least = optimum(k, epsilon)
    return Row(
        name=f"**{mechanism.id}**",
        exact=mechanism.support.mean_variance(k) / least,
        error=float(np.mean(errors)) / least,
        standard_error=float(np.std(errors)) / math.sqrt(REPETITIONS) / least,
        payload_bytes=mechanism.payload_bytes,
        client=client_rate(mechanism, k),
        server=server_rate(mechanism, rng),
        decode_ms=1000 * float(np.median(decode)),
    )


def client_rate(mechanism: Any, k: int) -> float:
    """Real draws a second, once warm."""
    mechanism.randomize(0)
    began = time.perf_counter()
    for value in range(CLIENT_DRAWS):
        mechanism.randomize(value % k)
    return CLIENT_DRAWS / (time.perf_counter() - began)


def server_rate(mechanism: Any, rng: np.random.Generator) -> float:
    """Decoded reports accumulated a second: best of five batches of a million."""
    noised = rng.integers(0, len(mechanism.outputs()), SERVER_REPORTS)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        mechanism.accumulate(noised)
        seconds.append(time.perf_counter() - began)
    return SERVER_REPORTS / min(seconds)


def sample(mechanism: Any, values: Integers, rng: np.random.Generator) -> Integers:
    """Decoded payloads of these values, from the mechanism's odds."""
    truly = rng.random(len(values)) < mechanism.truth
    match mechanism:
        case KAryResponse():
            return np.where(truly, values, other_than(values, mechanism.categories, rng))
        case LinearLocalHashing():
            directions = rng.integers(0, mechanism.directions, len(values))
            hashes = hashed(mechanism, directions, values)
            return directions * mechanism.field + np.where(truly, hashes, other_than(hashes, mechanism.field, rng))
        case SubsetSelection():
            return np.concatenate([*sampled_sets(mechanism, values, truly, rng)])
    raise TypeError(mechanism.id)


def other_than(values: Integers, size: int, rng: np.random.Generator) -> Integers:
    """For each value a uniform other one below `size`."""
    return (values + rng.integers(1, size, len(values))) % size


def hashed(mechanism: LinearLocalHashing, directions: Integers, values: Integers) -> Integers:
    """`hash_value`, vectorised."""
    vectors = np.array([mechanism.vector(direction) for direction in range(mechanism.directions)])[directions]
    total, q = np.zeros_like(values), mechanism.field
    for digit in range(mechanism.digits):
        total += vectors // q**digit % q * (values // q**digit % q)
    return total % q


def sampled_sets(
    mechanism: SubsetSelection, values: Integers, truly: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Iterator[Integers]:
    """Ranks of uniform sets with or without the value, by smallest of random keys; ten thousand at a time."""
    columns = range(1, mechanism.size + 1)
    table = np.array([[math.comb(member, i) for i in columns] for member in range(mechanism.padded)], dtype=np.int64)
    for first in range(0, len(values), 10_000):
        some, with_value = values[first : first + 10_000], truly[first : first + 10_000]
        keys = rng.random((len(some), mechanism.padded))
        keys[np.arange(len(some)), some] = np.where(with_value, -1.0, 2.0)
        members = np.sort(np.argpartition(keys, mechanism.size - 1, axis=1)[:, : mechanism.size], axis=1)
        yield table[members, np.arange(mechanism.size)].sum(axis=1)


def their(peers: str, k: int, epsilon: float) -> Iterator[Row]:
    """Every oracle of the peers that gets anywhere with so many categories."""
    least = optimum(k, epsilon)
    k_ary = KAryResponse(epsilon, tuple(map(str, range(k)))).support.mean_variance(k)
    for oracle in ORACLES:
        if k_ary > ABOVE_K_ARY.get(oracle, math.inf) * least or k > MOST_CATEGORIES.get(oracle, k):
            continue
        program = [peers, str(Path(__file__).with_name("peers.py")), oracle, str(k), str(epsilon), str(PEER_SECONDS)]
        result = json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
        error, spread = result["error"] / least, result["standard_error"] / least
        yield Row(oracle, None, error, spread, result["bytes"], result["client"], result["server"], None)


def best_of_each(rows: Iterator[Row]) -> list[Row]:
    """The oracle of least error of either library."""
    every = list(rows)
    libraries = [[row for row in every if row.name.startswith(library)] for library in ("pure", "multi")]
    return [min(some, key=lambda row: row.error) for some in libraries if some]


def means(epsilon: float) -> str:
    """One row on means of a bounded value: formulas only, which the tests hold to the odds."""
    steps = 86_400
    mechanism = build(best("mean", epsilon, Shape(bounds=(0, steps))), epsilon, (), (0, steps))
    worst = mechanism.expected_error(1) ** 2 / steps**2
    half, e = math.exp(epsilon / 2), math.exp(epsilon)
    mixture = 1 - 1 / half if epsilon > 0.61 else 0
    hybrid = max(
        mixture * (t * t / (half - 1) + (half + 3) / (3 * (half - 1) ** 2))
        + (1 - mixture) * (((e + 1) / (e - 1)) ** 2 - t * t)
        for t in (0.0, 1.0)
    )
    laplace = DiscreteLaplace(epsilon, 0, steps).expected_error(1) ** 2 / steps**2
    figures = f"{worst:.4f} | {hybrid / 4:.4f} | {laplace:.4f}"
    return f"| {epsilon:g} | **{mechanism.id}** | {figures} | {mechanism.payload_bytes} |"


if __name__ == "__main__":
    main(sys.argv[1])
