"""Intervals of the mechanisms over labels and of the dithered bit keep their stated coverage (P8).

As test_coverage.py: seeded, nominal 95%, true values fixed. A label's count of support is the sum of two binomials,
exactly, since each report supports it with one of two probabilities (see tests/privacy/test_finite_odds.py);
the whole path from payloads to intervals is drawn for one cell of each mechanism. A cell passes with a coverage of
94% and three standard errors of the simulation, so one whose true coverage is below 94% passes with odds under 0.2%.

Measured, worst cell and mean: sss-1 0.9476, 0.961; llh-1 0.9491, 0.959; lgrr-1 0.9492, 0.960; msel 0.9495, 0.959;
dbit-1 means 0.9494, 0.963 where all values are one, 0.956, 0.985 for half at each end of the range; dlev-1 means
at 50 devices 0.952; points of the curve 0.955 … 1, since a group's devices are few.
"""

import math

import numpy as np
import pytest

from discreet_contract.mechanisms.catalogue import build
from discreet_contract.mechanisms.distribution import quantiles, survival
from discreet_contract.mechanisms.dithered_bit import DitheredBit
from discreet_contract.mechanisms.dithered_levels import DitheredLevels
from discreet_contract.mechanisms.dithered_mix import DitheredMix
from discreet_contract.mechanisms.mechanism import odds_of

LEVEL = 0.95
FLOOR = 0.94
RUNS = 40_000
EPSILONS = [0.5, 1.0, 2.0, 4.0]
DEVICES = [50, 500, 5000]
SHARES = [0.0, 0.02, 0.4, 1.0]
OVER_LABELS = [
    ("sss-1", 9, {}),
    ("sss-1", 16, {}),
    ("sss-1", 60, {}),
    ("llh-1", 16, {}),
    ("llh-1", 128, {}),
    ("llh-1", 10_000, {}),
    ("lgrr-1", 3, {}),
    ("lgrr-1", 17, {}),
    ("msel-krr-1", 4, {"at_most": 2}),
    ("msel-sss-1", 15, {"at_most": 3}),
    ("msel-llh-1", 200, {"at_most": 3}),
]
CELLS = [
    pytest.param(name, k, extra, epsilon, devices, share, id=f"{name} of {k} ε={epsilon} n={devices} share={share}")
    for name, k, extra in OVER_LABELS
    for epsilon in EPSILONS
    for devices in DEVICES
    for share in SHARES
]
# How the values of the dithered bit's devices lie in 0 … B: shares of devices at shares of the range.
SPREADS = {
    "all lowest": [(1.0, 0.0)],
    "all highest": [(1.0, 1.0)],
    "all in the middle": [(1.0, 0.5)],
    "few high": [(0.98, 0.0), (0.02, 1.0)],
    "even": [(0.1, tenth / 9) for tenth in range(10)],
    "half at each end": [(0.5, 0.0), (0.5, 1.0)],
}


def generator(*cell):
    return np.random.default_rng([20_261_123, *(seed_of(part) for part in cell)])


def seed_of(part):
    """The same number in every process."""
    return int.from_bytes(part.encode(), "big") if isinstance(part, str) else round(part * 1000) + 1_000_000


def share_held(ends, figures, truth):
    """Share of runs whose interval holds the truth; figures are run by run, `ends` of each different one."""
    different, where = np.unique(figures, return_inverse=True)
    held = np.array([end.low <= truth <= end.high for end in map(ends, different.tolist())])
    return float(held[where].mean())


def assert_kept(coverage):
    assert coverage >= FLOOR + 3 * math.sqrt(FLOOR * (1 - FLOOR) / RUNS)


def label_coverage(name, k, extra, epsilon, devices, share):
    support = build(name, epsilon, tuple(map(str, range(k))), (0, 1), **extra).support
    holders = round(share * devices)
    rng = generator(name, k, epsilon, devices, share)
    counts = rng.binomial(holders, support.own, RUNS) + rng.binomial(devices - holders, support.other, RUNS)
    return share_held(lambda count: support.interval([count], devices, LEVEL)[0], counts, holders / devices)


@pytest.fixture(scope="module")
def label_coverages():
    return {cell.id: label_coverage(*cell.values) for cell in CELLS}


@pytest.mark.parametrize("cell", [cell.id for cell in CELLS])
def test_a_labels_interval_holds_the_truth_as_often_as_it_says(label_coverages, cell):
    """Rare and common labels, few devices and many, weak noise and strong."""
    assert_kept(label_coverages[cell])


@pytest.mark.parametrize(("name", "k", "extra"), OVER_LABELS)
def test_intervals_are_not_wide_for_nothing(label_coverages, name, k, extra):  # noqa: ARG001 the ids say what k is of
    """Over all cells of a mechanism coverage averages between 94.5% and 98%."""
    cells = [coverage for cell, coverage in label_coverages.items() if cell.startswith(f"{name} of {k} ")]

    assert 0.945 <= np.mean(cells) <= 0.98, (min(cells), np.mean(cells), max(cells))


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("steps", [1, 28, 1000])
def test_a_dithered_mean_is_held_as_often_as_said(steps, epsilon, devices, spread):
    """Values at the bounds as well; where values lie apart coverage is higher, since their spread is not known."""
    mechanism = DitheredBit(epsilon, 0, steps)
    rng, yes, total, left = generator(spread, steps, epsilon, devices), np.zeros(RUNS, dtype=np.int64), 0, devices
    for share, at in SPREADS[spread]:
        there = min(round(share * devices), left)
        left -= there
        value = round(at * steps)
        total += there * value
        yes += rng.binomial(there, 1 - mechanism.truth + value / steps * (2 * mechanism.truth - 1), RUNS)
    yes += rng.binomial(left, 1 - mechanism.truth, RUNS)  # whom rounding left over hold the lowest value

    def ends(count):
        return mechanism.interval([devices, count], LEVEL)[0]

    assert_kept(share_held(ends, yes, total / devices))
    estimates = np.array([mechanism.estimate([devices, int(count)])[0] for count in yes[:2000]])
    assert abs(estimates.mean() - total / devices) < 5 * estimates.std() / math.sqrt(2000)


WHOLE_PATH_RUNS = 4000


@pytest.mark.parametrize(
    ("name", "k", "extra"),
    [
        ("sss-1", 9, {}),
        ("llh-1", 10, {}),
        ("lgrr-1", 4, {}),
        ("msel-krr-1", 4, {"at_most": 2}),
        ("msel-llh-1", 6, {"at_most": 2}),
    ],
)
def test_from_payloads_to_intervals(name, k, extra):
    """Payloads drawn from the exact odds, accumulated, estimated: every label's interval, over two hundred devices."""
    mechanism = build(name, 1.0, tuple(map(str, range(k))), (0, 1), **extra)
    values = list(mechanism.domain())
    there = np.zeros(len(values), dtype=int)
    there[[0, 1, len(values) - 1]] = 120, 70, 10
    odds = [np.array([float(p) for p in odds_of(mechanism, v).values()]) for v in values]
    rng, held = generator(name, k, "path"), np.zeros(k)
    truth = [sum(n for v, n in zip(values, there, strict=True) if holds(mechanism, v, x)) / 200 for x in range(k)]
    for _ in range(WHOLE_PATH_RUNS):
        drawn = sum(rng.multinomial(n, odds[i]) for i, n in enumerate(there) if n)
        sums = mechanism.accumulate(np.repeat(np.arange(len(drawn)), drawn)).tolist()
        ends = mechanism.interval(sums, LEVEL)
        held += [end.low <= t <= end.high for end, t in zip(ends, truth, strict=True)]

    assert held.min() / WHOLE_PATH_RUNS >= FLOOR


def holds(mechanism, value, label):
    return value >> label & 1 if mechanism.id.startswith("msel") else value == label


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("devices", [50, 2000])
@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("steps", [2, 28, 1000])
def test_a_mean_of_levels_is_held_as_often_as_said(steps, epsilon, devices, spread):
    """Reports drawn value by value: levels between two are rounded at random by the threshold, then responded to."""
    mechanism, runs = DitheredLevels(epsilon, 0, steps), 1000
    rng, lie = generator(spread, "levels", steps, epsilon, devices), (1 - mechanism.truth) / mechanism.levels
    table, total, left = np.zeros((runs, mechanism.levels + 1), dtype=np.int64), 0, devices
    for share, at in [*SPREADS[spread], (1.0, 0.0)]:  # whom rounding leaves over hold the lowest value
        there = min(round(share * devices), left)
        left -= there
        value = round(at * steps)
        total += there * value
        below, rest = divmod(value, mechanism.step)
        odds = np.full(mechanism.levels + 1, lie)
        odds[below] += mechanism.gap * (1 - rest / mechanism.step)
        odds[min(below + 1, mechanism.levels)] += mechanism.gap * rest / mechanism.step
        table += rng.multinomial(there, odds, runs)
    padding = [0] * (mechanism.levels + 1) * (mechanism.groups - 1)  # the mean does not look at groups
    sums, where = np.unique(table, axis=0, return_inverse=True)
    ends = [mechanism.interval([devices, *row, *padding], LEVEL)[0] for row in sums.tolist()]
    held = np.array([end.low <= total / devices <= end.high for end in ends])

    assert held[where.ravel()].mean() >= FLOOR - 3 * math.sqrt(FLOOR * (1 - FLOOR) / runs)


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("devices", [50, 500])
def test_a_mean_of_a_mixture_is_held_as_often_as_said(devices, spread):
    """Payloads drawn from the exact odds, coin included, at the ε for which `auto` takes it."""
    mechanism, runs, steps = DitheredMix(1.1, 0, 28), 1000, 28
    rng, total, left = generator(spread, "mix", devices), 0, devices
    drawn = np.zeros((runs, len(mechanism.outputs())), dtype=np.int64)
    for share, at in [*SPREADS[spread], (1.0, 0.0)]:  # whom rounding leaves over hold the lowest value
        there, value = min(round(share * devices), left), round(at * steps)
        left -= there
        total += there * value
        drawn += rng.multinomial(there, [float(p) for p in odds_of(mechanism, value).values()], runs)
    every = np.arange(len(mechanism.outputs()))
    ends = [mechanism.interval(mechanism.accumulate(np.repeat(every, row)).tolist(), LEVEL)[0] for row in drawn]
    held = np.mean([end.low <= total / devices <= end.high for end in ends])

    assert held >= FLOOR - 3 * math.sqrt(FLOOR * (1 - FLOOR) / runs)


def draw_sums(mechanism, values, rng):
    """One window of devices with these values: thresholds, then responses, as `probability` says."""
    if isinstance(mechanism, DitheredLevels):
        thresholds = rng.integers(1, mechanism.step, len(values), endpoint=True)
        reached = np.maximum(0, (values - thresholds) // mechanism.step + 1)
        lies = (reached + rng.integers(1, mechanism.levels, len(values), endpoint=True)) % (mechanism.levels + 1)
        reported = np.where(rng.random(len(values)) < mechanism.truth, reached, lies)
        return mechanism.accumulate((thresholds - 1) * (mechanism.levels + 1) + reported).tolist()
    thresholds = rng.integers(1, mechanism.steps, len(values), endpoint=True)
    yes = (values >= thresholds) == (rng.random(len(values)) < mechanism.truth)
    return mechanism.accumulate(2 * (thresholds - 1) + yes).tolist()


@pytest.mark.parametrize("kind", [DitheredBit, DitheredLevels])
@pytest.mark.parametrize(
    ("epsilon", "devices", "steps"), [(1.0, 50, 28), (1.0, 2000, 28), (2.0, 2000, 1000), (4.0, 500, 10)]
)
@pytest.mark.parametrize("spread", SPREADS)
def test_survival_and_quantiles_are_held_as_often_as_said(kind, epsilon, devices, steps, spread):
    """Whole path, thresholds drawn as devices draw them: each point of the curve and each quantile on its own."""
    mechanism, runs = kind(epsilon, 0, steps), 400
    rng = generator(spread, kind.id, steps, epsilon, devices)
    parts = [np.full(round(share * devices), round(at * steps)) for share, at in SPREADS[spread]]
    values = np.concatenate(parts)
    ordered, asked = np.sort(values), [0.1, 0.5, 0.9]
    true_quantiles = [ordered[math.ceil(a * len(values) - 1e-9) - 1] for a in asked]
    held, held_points, points_drawn = np.zeros(3), 0, 0
    for _ in range(runs):
        sums = draw_sums(mechanism, values, rng)
        found = quantiles(mechanism, sums, asked, LEVEL)
        held += [q.interval.low <= t <= q.interval.high for q, t in zip(found, true_quantiles, strict=True)]
        points = survival(mechanism, sums, LEVEL)
        for point in points[:: max(1, len(points) // 5)]:
            truth = np.mean(np.clip(values - point.first + 1, 0, point.last - point.first + 1)) / (
                point.last - point.first + 1
            )
            held_points += point.interval.low - 1e-12 <= truth <= point.interval.high + 1e-12
            points_drawn += 1

    # Runs are few here, so three standard errors are granted instead of demanded. Measured: 0.975 … 1.
    assert held.min() / runs >= FLOOR - 3 * math.sqrt(FLOOR * (1 - FLOOR) / runs)
    assert held_points / points_drawn >= FLOOR - 3 * math.sqrt(FLOOR * (1 - FLOOR) / points_drawn)
