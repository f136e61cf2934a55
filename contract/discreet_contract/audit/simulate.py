"""Bias and coverage of a metric's estimator, simulated: devices' reports are drawn from the odds with a fixed seed.

The estimand is the mean over these devices: their true values are fixed, only the mechanism
draws. Three fleets: all at the first value, all at the last, and one device in fifty apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from discreet_contract.audit.exact import domain_of
from discreet_contract.audit.findings import Check, Finding, judged, not_run
from discreet_contract.audit.odds import MAX_OUTPUTS, odds_of_value
from discreet_contract.mechanisms.multi_select import MultiSelect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.audit.odds import Floats, Odds
    from discreet_contract.mechanisms.mechanism import Mechanism
    from discreet_contract.policy.plan import MetricPlan

LEVEL = 0.95
FLOOR = 0.94
SEED = 20_261_123
MAX_DEVICES = 200  # few devices are where intervals fail first
MAX_LABELS = 5_000
_VALUES = 200  # of a domain that is no range, from its start
_RARE = 50  # one device in so many is apart


@dataclass(frozen=True, slots=True)
class _Fleet:
    """So many devices at each of two values."""

    rows: tuple[tuple[Odds, int], ...]
    truth: tuple[float, ...]  # the true mean under each label


@dataclass(frozen=True, slots=True)
class _Cell:
    """One label of one fleet, over all runs."""

    bias: float  # in standard errors of the simulation
    held: int  # runs whose interval holds the truth


def simulate(plan: MetricPlan, *, runs: int, alpha: float) -> list[Finding]:
    """Bias and coverage, each judged at false-alarm odds `alpha` over all its cells together."""
    mechanism = plan.mechanism
    if len(mechanism.outputs()) > MAX_OUTPUTS:
        why = f"{len(mechanism.outputs()):,} outputs are too many to draw from (at most {MAX_OUTPUTS:,})"
        return [not_run(plan.name, check, why) for check in (Check.BIAS, Check.COVERAGE)]
    if len(mechanism.labels) > MAX_LABELS:
        why = f"{len(mechanism.labels):,} labels take too long to simulate (at most {MAX_LABELS:,})"
        return [not_run(plan.name, check, why) for check in (Check.BIAS, Check.COVERAGE)]
    devices = min(plan.metric.min_devices, MAX_DEVICES)
    fleets = list(_fleets(mechanism, devices))
    if not fleets:
        why = f"no truth is known for the estimates of {mechanism.id}"
        return [not_run(plan.name, check, why) for check in (Check.BIAS, Check.COVERAGE)]
    runs = max(100, min(runs, 500 * runs // len(mechanism.labels)))
    rng = np.random.default_rng(SEED)
    cells = [cell for fleet in fleets for cell in _cells(mechanism, fleet, runs, rng)]
    return [_bias(plan, cells, runs, devices, alpha), _coverage(plan, cells, runs, devices, alpha)]


def _bias(plan: MetricPlan, cells: list[_Cell], runs: int, devices: int, alpha: float) -> Finding:
    worst = max(abs(cell.bias) for cell in cells)
    allowed = float(stats.t.isf(alpha / len(cells) / 2, runs - 1))
    return judged(
        plan.name,
        Check.BIAS,
        f"at most {worst:.1f} standard errors in {len(cells)} cells of {runs:,} runs of {devices} devices"
        f" (allowed {allowed:.1f})",
        holds=worst <= allowed,
        worst_z=worst,
        allowed_z=allowed,
        cells=len(cells),
        runs=runs,
        devices=devices,
    )


def _coverage(plan: MetricPlan, cells: list[_Cell], runs: int, devices: int, alpha: float) -> Finding:
    least = min(cell.held for cell in cells)
    floor = int(stats.binom.ppf(alpha / len(cells), runs, FLOOR))
    return judged(
        plan.name,
        Check.COVERAGE,
        f"at least {least / runs:.1%} in {len(cells)} cells of {runs:,} runs of {devices} devices"
        f" (fails below {floor / runs:.1%})",
        holds=least >= floor,
        least=least / runs,
        fails_below=floor / runs,
        cells=len(cells),
        runs=runs,
        devices=devices,
    )


def _fleets(mechanism: Mechanism, devices: int) -> Iterator[_Fleet]:
    values, _ = domain_of(mechanism, _VALUES)
    first, last = values[0], values[-1]
    apart = max(1, devices // _RARE)
    for shares in (((first, devices),), ((last, devices),), ((first, apart), (last, devices - apart))):
        truths = [(_truth(mechanism, value), count) for value, count in shares if count]
        rows = [(odds_of_value(mechanism, value), count) for value, count in shares if count]
        if any(truth is None for truth, _ in truths) or any(row is None for row, _ in rows):
            return
        weights = [count / devices for _, count in truths]
        mean = np.average([truth for truth, _ in truths if truth is not None], axis=0, weights=weights)
        yield _Fleet(tuple((row, count) for row, count in rows if row is not None), tuple(mean.tolist()))


def _truth(mechanism: Mechanism, value: int) -> tuple[float, ...] | None:
    """What the estimate of one device with this value is an estimate of; None where this audit does not know."""
    labels = len(mechanism.labels)
    if isinstance(mechanism, MultiSelect):
        return tuple(float(value >> place & 1) for place in range(labels))
    if labels == 1:
        return (float(value),)
    if mechanism.domain() == range(labels):
        return tuple(float(value == place) for place in range(labels))
    return None


def _cells(mechanism: Mechanism, fleet: _Fleet, runs: int, rng: np.random.Generator) -> Iterator[_Cell]:
    """The first label and the last: where there are many, they are all alike."""
    drawn = np.concatenate([row.draw(rng, runs * count).reshape(runs, count) for row, count in fleet.rows], axis=1)
    sums = [mechanism.accumulate(reports).tolist() for reports in drawn]
    estimates = np.array([mechanism.estimate(one) for one in sums])
    intervals = [mechanism.interval(one, LEVEL) for one in sums]
    for label in sorted({0, len(mechanism.labels) - 1}):
        truth = fleet.truth[label]
        held = sum(one[label].low <= truth <= one[label].high for one in intervals)
        yield _Cell(_z(estimates[:, label], truth), held)


def _z(estimates: Floats, truth: float) -> float:
    spread = float(estimates.std(ddof=1)) / np.sqrt(len(estimates))
    return float((estimates.mean() - truth) / spread) if spread > 0 else 0.0
