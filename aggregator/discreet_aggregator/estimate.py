"""Sums → figures for people: estimate, interval, devices, ε, and how final they are (P8).

Figures are unbiased and never clipped: a share may come out below zero, and that is said by
its interval. Below `min_devices` no figure leaves this function at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.distribution import quantiles
from discreet_contract.mechanisms.dithered_bit import DitheredBit
from discreet_contract.mechanisms.dithered_levels import DitheredLevels
from discreet_contract.mechanisms.dithered_mix import DitheredMix
from discreet_contract.mechanisms.local_hashing import LinearLocalHashing
from discreet_contract.mechanisms.open_strings import estimate_dictionary
from discreet_contract.policy.model import NONE_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_aggregator.records import Cell
    from discreet_contract.mechanisms.distribution import Dithered, Quantile
    from discreet_contract.mechanisms.mechanism import Interval, Mechanism
    from discreet_contract.policy.plan import MetricPlan

LEVEL = 0.95
QUANTILES = (0.5, 0.9)  # shown beside the mean where the reports hold the distribution
ESTIMAND = "mean over the n devices that reported, this window; mechanism noise only"
_REPEATED = "; a memoised response is the same in every window, so its noise does not average out over windows"


class Status(StrEnum):
    """How much a figure may still change."""

    PROVISIONAL = "provisional"  # reports may still arrive
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Figure:
    """One label's value in display units."""

    label: str
    estimate: float
    low: float
    high: float
    standard_error: float | None  # a quantile has none: its interval comes from tests of the distribution


@dataclass(frozen=True, slots=True)
class Context:
    """What a result is published with beside its sums. `grace_seconds` after the window's end it is final."""

    now_ms: int
    grace_seconds: int
    policy_versions: tuple[int, ...]  # of the policies under which the reports were made


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric, version and window. Either `figures` and `devices`, or `withheld` ("1 of 50") and neither."""

    cell: Cell
    window_end: int  # seconds
    figures: tuple[Figure, ...]
    devices: int | None
    withheld: str | None
    epsilon: float
    mechanism: str
    unit: str
    status: Status
    policy_versions: tuple[int, ...]
    type: str = ""  # of the metric
    divide: float = 1.0  # of its display
    level: float = LEVEL
    estimand: str = ESTIMAND


def estimate(cell: Cell, sums: Sequence[int], plan: MetricPlan, context: Context) -> MetricResult:
    """The published form of one cell. Expected error: the mechanism's own, times the display scale."""
    devices, least = sums[0], plan.metric.min_devices
    end = cell.window_start + plan.metric.window_seconds
    shown = devices >= least
    return MetricResult(
        cell=cell,
        window_end=end,
        figures=_figures(sums, plan) if shown else (),
        devices=devices if shown else None,
        withheld=None if shown else f"{devices} of {least}",
        epsilon=plan.metric.epsilon,
        mechanism=plan.mechanism.id,
        unit=plan.metric.display.unit,
        status=_status(end, context),
        policy_versions=context.policy_versions,
        type=plan.metric.type,
        divide=plan.metric.display.divide,
        estimand=ESTIMAND + (_REPEATED if plan.metric.is_memoised else ""),
    )


def _figures(sums: Sequence[int], plan: MetricPlan) -> tuple[Figure, ...]:
    scale = plan.step / plan.metric.display.divide
    if plan.metric.type == "open":
        return _words(sums, plan)
    found = [
        Figure(label, value * scale, ends.low * scale, ends.high * scale, math.sqrt(variance) * scale)
        for label, value, ends, variance in _columns(sums, plan.mechanism)
    ]
    holder = _distribution(plan.mechanism, sums)
    if holder is not None:
        found += [_quantile(one, scale) for one in quantiles(*holder, QUANTILES, LEVEL)]
    return tuple(found)


def _distribution(mechanism: Mechanism, sums: Sequence[int]) -> tuple[Dithered, Sequence[int]] | None:
    """What holds the values' distribution: the mechanism itself, of a mixture the part with more reports."""
    if isinstance(mechanism, DitheredMix):
        return mechanism.parts(sums)[0]
    return (mechanism, sums) if isinstance(mechanism, DitheredBit | DitheredLevels) else None


def _quantile(found: Quantile, scale: float) -> Figure:
    name = "median" if found.probability == 0.5 else f"p{100 * found.probability:g}"
    return Figure(name, found.estimate * scale, found.interval.low * scale, found.interval.high * scale, None)


def _columns(sums: Sequence[int], mechanism: Mechanism) -> Iterator[tuple[str, float, Interval, float]]:
    return zip(
        mechanism.labels,
        mechanism.estimate(sums),
        mechanism.interval(sums, LEVEL),
        mechanism.variance(sums),
        strict=True,
    )


def _words(sums: Sequence[int], plan: MetricPlan) -> tuple[Figure, ...]:
    """Shares of the dictionary's words; "" is what a silent device says. Words of one cell are one figure."""
    mechanism = plan.mechanism
    if not isinstance(mechanism, LinearLocalHashing):
        raise TypeError(f"{mechanism.id} carries no strings")  # the policy's own check lets none through
    found = estimate_dictionary(mechanism, sums, ("", *plan.metric.dictionary), plan.metric.salt, LEVEL)
    return tuple(
        Figure(
            " or ".join(word or NONE_LABEL for word in one.words),
            one.estimate,
            one.interval.low,
            one.interval.high,
            math.sqrt(one.variance),
        )
        for one in found.figures
    )


def _status(window_end: int, context: Context) -> Status:
    if context.now_ms <= (window_end + context.grace_seconds) * 1000:
        return Status.PROVISIONAL
    return Status.FINAL
