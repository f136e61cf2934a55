"""Distribution of a bounded integer from the sums of dithered reports: survival curve and quantiles, with intervals.

The share of reports that pass a threshold, less what lies add, estimates the survival P(value ≥ T), averaged over a
group of neighbouring thresholds. Which devices drew those thresholds is chance, so the estimand stays all
devices that reported. Resolution: a group, (high − low)/256 or one step, whichever is more; a quantile's
interval states values on that grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from discreet_contract.mechanisms.mechanism import Interval, z_score
from discreet_contract.mechanisms.post_process import monotone
from discreet_contract.mechanisms.support import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class CurveCount:
    """Of `asked` reports, thresholds first … last counted from the low bound, `passed` say that it is reached.

    Each does so with probability base + gap·survival.
    """

    first: int
    last: int
    asked: int
    passed: int
    base: float


class Dithered(Protocol):
    """What a mechanism offers whose sums hold a survival curve."""

    @property
    def low(self) -> int: ...  # noqa: D102

    @property
    def high(self) -> int: ...  # noqa: D102

    @property
    def groups(self) -> int:
        """Points in a row that no device is counted twice in."""
        ...

    @property
    def gap(self) -> float:
        """By how much a threshold that is reached raises the probability of passing it."""
        ...

    @property
    def noise(self) -> float:
        """Variance of a point times its reports, at most."""
        ...

    def curve(self, sums: Sequence[int]) -> list[CurveCount]:
        """Counts for all thresholds, from the smallest to the largest."""
        ...


@dataclass(frozen=True, slots=True)
class SurvivalPoint:
    """Share of devices whose value is at least T, averaged over thresholds `first` ≤ T ≤ `last`.

    Unbiased and never clipped; None where no report has such a threshold.
    """

    first: int
    last: int
    devices: int
    estimate: float | None
    interval: Interval


@dataclass(frozen=True, slots=True)
class Quantile:
    """Smallest value that at least this share of devices does not exceed. The estimate is post-processed: biased."""

    probability: float
    estimate: int
    interval: Interval


def survival(mechanism: Dithered, sums: Sequence[int], level: float) -> tuple[SurvivalPoint, ...]:
    """The survival curve, one point a group of thresholds; each interval holds its own truth at `level`."""
    return tuple(
        SurvivalPoint(
            first=mechanism.low + counts.first,
            last=mechanism.low + counts.last,
            devices=counts.asked,
            estimate=_raw(mechanism, counts) if counts.asked else None,
            interval=_within_unit(_ends(mechanism, [counts], level)),
        )
        for counts in mechanism.curve(sums)
    )


def monotone_survival(mechanism: Dithered, sums: Sequence[int]) -> tuple[float, ...]:
    """The curve made to fall and kept within [0, 1], a point a group: post-processing `monotone`, with its bias."""
    curve = mechanism.curve(sums)
    raw = [_raw(mechanism, counts) if counts.asked else 0.0 for counts in curve]
    return tuple(min(max(value, 0.0), 1.0) for value in monotone(raw, [counts.asked for counts in curve]))


def quantiles(
    mechanism: Dithered, sums: Sequence[int], probabilities: Sequence[float], level: float
) -> tuple[Quantile, ...]:
    """Quantiles of probabilities in (0, 1); each interval holds its own at `level`, whatever the distribution.

    Each interval spans the values v that two tests let stand: that survival beyond v is at most 1 − probability,
    and that survival up to v is more. A test pools the nearest groups on its side, as many as balance noise
    against the curve's fall for this number of reports: widths shrink with n^(1/3). Only the tests of the true
    quantile must hold, so their number asks for no correction.
    """
    fallen = monotone_survival(mechanism, sums)
    bands = _bands(mechanism, sums, level)
    found = []
    for probability in probabilities:
        beyond = 1 - probability
        boundary = next((g for g, share in enumerate(fallen) if share <= beyond), len(fallen))
        estimate = min(mechanism.low + bands.values[boundary], mechanism.high)
        found.append(Quantile(probability, estimate, _standing(mechanism, bands, beyond)))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Bands:
    """At each boundary between groups its value, and bounds on mean survival in the pools of groups next to it.

    A boundary's value is the largest below the thresholds of the group after it.
    """

    values: list[int]
    at_least_beyond: list[float]
    at_most_before: list[float]


def _bands(mechanism: Dithered, sums: Sequence[int], level: float) -> _Bands:
    curve = mechanism.curve(sums)
    pool, boundaries = _pool(mechanism, len(curve), sums[0], level), range(len(curve) + 1)
    return _Bands(
        values=[counts.first - 1 for counts in curve] + [curve[-1].last],
        at_least_beyond=[_ends(mechanism, curve[b : b + pool], level).low for b in boundaries],
        at_most_before=[_ends(mechanism, curve[max(b - pool, 0) : b], level).high for b in boundaries],
    )


def _standing(mechanism: Dithered, bands: _Bands, beyond: float) -> Interval:
    """From the smallest to the largest value that neither test rejects; the whole range where none is left."""
    few_beyond = [bound <= beyond for bound in bands.at_least_beyond]
    more_before = [bound > beyond for bound in bands.at_most_before]
    spans = [(v, v) for v, few, more in zip(bands.values, few_beyond, more_before, strict=True) if few and more]
    spans += [  # values inside of a group: between two boundaries, judged by what lies wholly before and beyond
        (below + 1, above - 1)
        for (below, above), few, more in zip(pairwise(bands.values), few_beyond[1:], more_before[:-1], strict=True)
        if few and more and above - below > 1
    ]
    if not spans:
        return Interval(mechanism.low, mechanism.high)
    ends = min(spans)[0], max(last for _, last in spans)
    # Levels whose steps do not divide the range ask beyond it; no device's value lies there.
    return Interval(*(min(mechanism.low + end, mechanism.high) for end in ends))


def _pool(mechanism: Dithered, points: int, devices: int, level: float) -> int:
    """Points in a pool: a share 1/K of them, at which a band's half-width equals a straight curve's fall, 1/K.

    Each point has devices·groups/points reports that no other point in reach has, hence the limit.
    """
    reports = devices * points / mechanism.groups
    pools = max(math.cbrt(reports / (z_score(level) ** 2 * mechanism.noise)), 1.0)
    return min(mechanism.groups, max(1, round(points / pools)))


def _ends(mechanism: Dithered, pool: list[CurveCount], level: float) -> Interval:
    """Interval for mean survival over a pool's reports; not kept within [0, 1]."""
    asked = sum(counts.asked for counts in pool)
    if asked == 0:
        return Interval(0.0, 1.0)
    base = sum(counts.base * counts.asked for counts in pool) / asked
    shares = wilson_interval(sum(counts.passed for counts in pool), asked, level)
    return Interval((shares.low - base) / mechanism.gap, (shares.high - base) / mechanism.gap)


def _within_unit(ends: Interval) -> Interval:
    return Interval(max(0.0, ends.low), min(1.0, ends.high))


def _raw(mechanism: Dithered, counts: CurveCount) -> float:
    return (counts.passed / counts.asked - counts.base) / mechanism.gap
