"""Known sums give known figures; few devices give none."""

from __future__ import annotations

import math

import pytest

from discreet_aggregator.adjust import Adjustment, adjusted
from discreet_aggregator.estimate import Context, Status, estimate
from discreet_aggregator.metrics import as_rows
from discreet_aggregator.records import Cell

END_AFTER = 28 * 86_400


def result_of(fleet, metric, sums, now_s=None):
    plan = fleet.policy.plans[metric]
    cell = Cell(metric, plan.version, fleet.window_start, ())
    now_ms = fleet.clock.now_ms() if now_s is None else now_s * 1000
    return estimate(cell, sums, plan, Context(now_ms, 3600, (1,)))


def test_a_binary_share(fleet):
    """Counts expected of 30% truth give 30%, with the mechanism's own standard error."""
    p = fleet.policy.plans["any_trip"].mechanism.truth
    n = 1_000_000
    [figure] = result_of(fleet, "any_trip", (n, round(n * (0.3 * p + 0.7 * (1 - p))))).figures
    assert figure.estimate == pytest.approx(0.3, abs=1e-5)
    assert figure.standard_error == pytest.approx(math.sqrt(0.92 / n), rel=0.01)
    assert figure.low < figure.estimate < figure.high


def test_a_mean_in_display_units(fleet):
    """Steps of 10 m, shown in km: a mean of 100 steps is 1 km, and so is its error scaled."""
    [figure] = result_of(fleet, "distance", (10_000, 1_000_000)).figures
    assert figure.label == "mean"
    assert figure.estimate == pytest.approx(1.0)
    error = fleet.policy.plans["distance"].mechanism.expected_error(10_000)
    assert figure.standard_error == pytest.approx(error * 10 / 1000)
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * figure.standard_error, rel=1e-3)


def test_shares_are_not_clipped(fleet):
    """A count below what noise alone gives comes out negative, and the shares still add up to one."""
    result = result_of(fleet, "place", (1000, 900, 100, 0, 0))
    assert [figure.label for figure in result.figures] == ["a", "b", "c", "none"]
    assert result.figures[2].estimate < 0
    assert sum(figure.estimate for figure in result.figures) == pytest.approx(1)


def test_few_devices_are_withheld_without_any_number(fleet):
    """Below min_devices there is one sentence and no figure."""
    result = result_of(fleet, "place", (49, 49, 0, 0, 0))
    assert (result.withheld, result.figures, result.devices) == ("49 of 50", (), None)
    assert result_of(fleet, "place", (50, 50, 0, 0, 0)).withheld is None


@pytest.mark.parametrize(
    ("after_end", "status"),
    [(0, Status.PROVISIONAL), (3600, Status.PROVISIONAL), (3601, Status.FINAL)],
)
def test_status(fleet, after_end, status):
    """Live until the window ends, provisional while reports may arrive, then final."""
    now = fleet.window_start + END_AFTER + after_end
    assert result_of(fleet, "any_trip", (5, 3), now).status is status


def test_adjusted_shares_stand_beside_the_estimates(fleet):
    """Estimates stay as they are; a mean has nothing to adjust."""
    result = result_of(fleet, "place", (100, 0, 60, 5, 35))
    raw = [figure.estimate for figure in result.figures]
    clipped, projected = adjusted(result, Adjustment.CLIP), adjusted(result, Adjustment.NORM_SUB)

    assert min(raw) < 0
    assert clipped == tuple(min(max(share, 0), 1) for share in raw)
    assert min(projected) >= 0
    assert sum(projected) == pytest.approx(1)
    assert adjusted(result, Adjustment.NONE) == (None,) * 4
    assert set(adjusted(result_of(fleet, "distance", (10_000, 1_000_000)), Adjustment.CLIP)) == {None}
    assert [row["adjusted"] for row in as_rows(result, Adjustment.NORM_SUB)] == list(projected)
    assert "adjusted" not in as_rows(result)[0]
