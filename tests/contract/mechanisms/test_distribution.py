"""Survival curve and quantiles of dithered bits, from expected sums: no noise, so the answers are known."""

import numpy as np
import pytest

from discreet_contract.mechanisms.distribution import monotone_survival, quantiles, survival
from discreet_contract.mechanisms.dithered_bit import DitheredBit
from discreet_contract.mechanisms.dithered_levels import DitheredLevels

DEVICES = 10**9  # so that rounding expected sums to integers moves nothing


def expected_sums(mechanism, values):
    """Sums of 10⁹ devices, these values in equal parts, every report at its expectation."""
    thresholds = np.arange(1, mechanism.steps + 1)
    group = (thresholds - 1) * mechanism.groups // mechanism.steps
    passed = np.mean([value - mechanism.low >= thresholds for value in values], axis=0)
    yes = (1 - mechanism.truth) + passed * (2 * mechanism.truth - 1)
    asked = DEVICES / mechanism.steps
    by_group = [np.bincount(group, weights=w * asked) for w in (np.ones(mechanism.steps), yes)]
    return [DEVICES, round(yes.sum() * asked), *np.rint(by_group[0]).astype(int), *np.rint(by_group[1]).astype(int)]


@pytest.mark.parametrize("bounds", [(0, 1), (0, 7), (-3, 250), (0, 1000)])
def test_the_curve_is_that_of_the_values(bounds):
    """At every group of thresholds, averaged where a group has several; from the same sums as the mean."""
    mechanism = DitheredBit(1.0, *bounds)
    values = [bounds[0], bounds[0], (bounds[0] + bounds[1]) // 2, bounds[1]]
    sums = expected_sums(mechanism, values)
    points = survival(mechanism, sums, 0.95)

    assert mechanism.estimate(sums) == pytest.approx([np.mean(values)], abs=1e-4 * mechanism.steps)
    assert (points[0].first, points[-1].last) == (bounds[0] + 1, bounds[1])
    for point in points:
        truth = np.mean([[value >= t for t in range(point.first, point.last + 1)] for value in values])
        assert point.estimate == pytest.approx(truth, abs=1e-5)
        assert point.interval.low <= truth <= point.interval.high
    assert monotone_survival(mechanism, sums) == pytest.approx([point.estimate for point in points], abs=1e-5)


def expected_sums_of_levels(mechanism, values):
    """The same for dithered levels."""
    table = np.zeros((mechanism.groups, mechanism.levels + 1))
    for threshold in range(1, mechanism.step + 1):
        levels = np.bincount([mechanism.level_of(v, threshold) for v in values], minlength=mechanism.levels + 1)
        odds = (1 - mechanism.truth) / mechanism.levels + levels / len(values) * mechanism.gap
        table[(threshold - 1) * mechanism.groups // mechanism.step] += odds * DEVICES / mechanism.step
    return [DEVICES, *np.rint(table.ravel()).astype(int).tolist()]


@pytest.mark.parametrize("epsilon", [1.5, 4.0])
@pytest.mark.parametrize("bounds", [(0, 2), (-5, 200), (0, 1000)])
def test_levels_give_curve_and_quantiles_as_well(bounds, epsilon):
    """Point by point over all levels, thresholds in their order."""
    mechanism = DitheredLevels(epsilon, *bounds)
    values = [bounds[0], bounds[0] + 1, bounds[0] + 1, (bounds[0] + bounds[1]) // 2, bounds[1]]
    sums = expected_sums_of_levels(mechanism, values)

    assert mechanism.estimate(sums) == pytest.approx([np.mean(values)], abs=1e-4 * (bounds[1] - bounds[0]))
    for point in survival(mechanism, sums, 0.95):
        truth = np.mean([[value >= t for t in range(point.first, point.last + 1)] for value in values])
        assert point.estimate == pytest.approx(truth, abs=1e-5)
        assert point.interval.low <= truth <= point.interval.high
    resolution = 2 + 2 * (bounds[1] - bounds[0]) // 100
    for quantile, truth in zip(quantiles(mechanism, sums, [0.1, 0.5, 0.9], 0.95), sorted(values)[::2], strict=True):
        assert quantile.interval.low <= truth <= quantile.interval.high
        assert quantile.interval.high - quantile.interval.low <= resolution
        assert abs(quantile.estimate - truth) <= resolution


@pytest.mark.parametrize("bounds", [(0, 20), (-5, 200)])
def test_quantiles_are_those_of_the_values(bounds):
    """One step a group: exact, and so narrow with 10⁹ reports that neighbours are told apart."""
    mechanism = DitheredBit(1.0, *bounds)
    values = [bounds[0], bounds[0] + 3, bounds[0] + 3, bounds[0] + 11, bounds[1]]
    low, median, high = quantiles(mechanism, expected_sums(mechanism, values), [0.1, 0.5, 0.9], 0.95)

    assert (low.estimate, median.estimate, high.estimate) == (bounds[0], bounds[0] + 3, bounds[1])
    for quantile in (low, median, high):
        assert quantile.interval.low <= quantile.estimate <= quantile.interval.high
        assert quantile.interval.high - quantile.interval.low <= 2 + mechanism.steps // 100


def test_a_quantile_inside_of_a_group_is_held_by_the_group():
    """Ten thousand steps in 256 groups: the interval names the group's values."""
    mechanism = DitheredBit(1.0, 0, 10_000)
    [median] = quantiles(mechanism, expected_sums(mechanism, [5003]), [0.5], 0.95)

    assert median.interval.low <= 5003 <= median.interval.high
    assert median.interval.high - median.interval.low <= 2 * 10_000 / 256


def test_nobody_asked_means_nothing_known():
    """A group without a report has no estimate; a fleet without one no median."""
    mechanism = DitheredBit(1.0, 0, 300)
    sums = mechanism.accumulate([0, 1]).tolist()

    points = survival(mechanism, sums, 0.95)
    assert points[-1].estimate is None
    assert (points[-1].interval.low, points[-1].interval.high) == (0.0, 1.0)
    [median] = quantiles(mechanism, sums, [0.5], 0.95)
    assert (median.interval.low, median.interval.high) == (0, 300)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_a_quantile_lies_within_the_range_where_steps_do_not_divide_it(epsilon):
    """Seven steps in two levels of four: all devices at the top, and ends that tests of values beyond it would give."""
    mechanism = DitheredLevels(epsilon, -3, 4)
    for beyond in range(0, 51, 5):  # of the 50 reports at each of four thresholds
        sums = [200, *([50 - beyond, 0, beyond] * 4)]
        for found in quantiles(mechanism, sums, (0.01, 0.5, 0.99), 0.95):
            assert -3 <= found.interval.low <= found.interval.high <= 4
