"""One peer oracle on Zipf data, run by mechanisms.py in the peers' own Python; prints one JSON object.

python peers.py ORACLE K EPSILON SECONDS. Reports come in batches until the time is up; each batch is estimated
and compared with its own true shares, so that n times the mean squared error does not depend on n.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

warnings.filterwarnings("ignore")  # they warn of small n and small ε at every estimate


def pure(oracle: str, k: int, epsilon: float) -> tuple[Callable[[int], Any], Callable[[list[Any]], Any], float]:
    """(privatise one value, estimate shares from reports, payload bytes) of pure-ldp."""
    from pure_ldp.frequency_oracles.direct_encoding import DEClient, DEServer
    from pure_ldp.frequency_oracles.hadamard_response import HadamardResponseClient, HadamardResponseServer
    from pure_ldp.frequency_oracles.local_hashing import LHClient, LHServer
    from pure_ldp.frequency_oracles.unary_encoding import UEClient, UEServer

    identity = {"index_mapper": lambda x: x}
    index_bytes = math.ceil(math.log2(k) / 8)
    match oracle:
        case "DE":
            client, make, size = DEClient(epsilon, k, **identity), lambda: DEServer(epsilon, k, **identity), index_bytes
        case "OUE":
            client = UEClient(epsilon, k, use_oue=True, **identity)
            make, size = lambda: UEServer(epsilon, k, use_oue=True, **identity), math.ceil(k / 8)
        case "OLH":
            client = LHClient(epsilon, k, use_olh=True, **identity)
            make, size = lambda: LHServer(epsilon, k, use_olh=True, **identity), 9  # a seed of eight bytes, a symbol
        case _:
            server = HadamardResponseServer(epsilon, k, **identity)
            client = HadamardResponseClient(epsilon, k, server.get_hash_funcs(), **identity)
            make, size = lambda: server, index_bytes + 1

    def estimate(reports: list[Any]) -> Any:
        server = make()
        server.reset()
        server.aggregate_all(reports)
        server.check_and_update_estimates()
        return np.asarray(server.estimated_data, dtype=float)[:k] / len(reports)

    return client.privatise, estimate, float(size)


def multi(oracle: str, k: int, epsilon: float) -> tuple[Callable[[int], Any], Callable[[list[Any]], Any], float]:
    """The same of multi-freq-ldpy. Its aggregators clip; here its own p and q without that, so that errors compare."""
    from multi_freq_ldpy.pure_frequency_oracles.GRR import GRR_Client
    from multi_freq_ldpy.pure_frequency_oracles.SS import SS_Client

    e, index_bytes = math.exp(epsilon), math.ceil(math.log2(k) / 8)
    size = 1 if oracle == "GRR" else int(max(1, np.rint(k / (e + 1))))
    own = size * e / (size * e + k - size)
    other = (size - own) / (k - 1)
    draw = GRR_Client if oracle == "GRR" else SS_Client

    def estimate(reports: list[Any]) -> Any:
        counts = np.zeros(k)
        for report in reports:  # as its own aggregators count
            for item in np.atleast_1d(report):
                counts[item] += 1
        return (counts / len(reports) - other) / (own - other)

    return lambda value: draw(value, k, epsilon), estimate, float(size * index_bytes)


def main(oracle: str, k: int, epsilon: float, seconds: float) -> None:
    """Run batches until the time is up."""
    library, _, name = oracle.partition(".")
    privatise, estimate, size = (pure if library == "pure" else multi)(name, k, epsilon)
    chances = 1 / np.arange(1, k + 1)
    rng, chances = np.random.default_rng(1), chances / chances.sum()
    estimate([privatise(0), privatise(0)])  # compile, import
    batch = 500 if k <= 16 else 2000
    errors, spent, began = [], [0.0, 0.0], time.perf_counter()
    while not errors or time.perf_counter() - began < seconds:
        values = rng.choice(k, batch, p=chances).tolist()
        start = time.perf_counter()
        reports = []
        for value in values:
            reports.append(privatise(value))
            if not errors and time.perf_counter() - start > seconds:
                break
        middle = time.perf_counter()
        shares = estimate(reports)
        spent = [spent[0] + middle - start, spent[1] + time.perf_counter() - middle]
        truth = np.bincount(values[: len(reports)], minlength=k) / len(reports)
        errors.append((len(reports), float(len(reports) * np.mean((shares - truth) ** 2))))
    reports_made = sum(n for n, _ in errors)
    spread = float(np.std([error for _, error in errors]) / math.sqrt(len(errors)))
    print(
        json.dumps(
            {
                "oracle": oracle,
                "error": float(np.average([error for _, error in errors], weights=[n for n, _ in errors])),
                "standard_error": spread,
                "batches": len(errors),
                "bytes": size,
                "client": reports_made / spent[0],
                "server": reports_made / spent[1],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]))
