"""Distribution of a bounded integer from the sums of dithered bits: survival curve and quantiles, with intervals.

The share of yes among reports whose threshold lies in a group estimates the survival P(value ≥ T), averaged over
the group's thresholds. Which devices drew those thresholds is chance, so the estimand stays all devices that
reported. Resolution: a group, (high − low)/256 or one step, whichever is more; a quantile's interval
states values on that grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.mechanism import Interval, z_score
from discreet_contract.mechanisms.post_process import monotone
from discreet_contract.mechanisms.support import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.dithered_bit import DitheredBit


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


def survival(mechanism: DitheredBit, sums: Sequence[int], level: float) -> tuple[SurvivalPoint, ...]:
    """The survival curve, one point a group of thresholds; each interval holds its own truth at `level`."""
    asked, yes = _by_group(mechanism, sums)
    points = []
    for group, devices in enumerate(asked):
        first, last = mechanism.first_threshold(group), mechanism.first_threshold(group + 1) - 1
        ends = wilson_interval(yes[group], devices, level) if devices else Interval(0.0, 1.0)
        points.append(
            SurvivalPoint(
                first=mechanism.low + first,
                last=mechanism.low + last,
                devices=devices,
                estimate=_survival(mechanism, yes[group] / devices) if devices else None,
                interval=Interval(max(0.0, _survival(mechanism, ends.low)), min(1.0, _survival(mechanism, ends.high))),
            )
        )
    return tuple(points)


def monotone_survival(mechanism: DitheredBit, sums: Sequence[int]) -> tuple[float, ...]:
    """The curve made to fall and kept within [0, 1], a point a group: post-processing `monotone`, with its bias."""
    asked, yes = _by_group(mechanism, sums)
    raw = [_survival(mechanism, y / n) if n else 0.0 for y, n in zip(yes, asked, strict=True)]
    return tuple(min(max(value, 0.0), 1.0) for value in monotone(raw, asked))


def quantiles(
    mechanism: DitheredBit, sums: Sequence[int], probabilities: Sequence[float], level: float
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
        boundary = next((g for g, share in enumerate(fallen) if share <= beyond), mechanism.groups)
        ends = _standing(mechanism, bands, beyond)
        found.append(Quantile(probability, mechanism.low + mechanism.first_threshold(boundary) - 1, ends))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Bands:
    """At each boundary 0 … G between groups, bounds on mean survival in the pools of groups next to it."""

    at_least_beyond: list[float]
    at_most_before: list[float]


def _bands(mechanism: DitheredBit, sums: Sequence[int], level: float) -> _Bands:
    asked, yes = ([0, *accumulate(counts)] for counts in _by_group(mechanism, sums))
    groups, pool = mechanism.groups, _pool(mechanism, sums[0], level)

    def ends(first: int, after: int) -> Interval:
        devices = asked[after] - asked[first]
        if devices == 0:
            return Interval(0.0, 1.0)
        shares = wilson_interval(yes[after] - yes[first], devices, level)
        return Interval(_survival(mechanism, shares.low), _survival(mechanism, shares.high))

    return _Bands(
        at_least_beyond=[ends(b, min(b + pool, groups)).low for b in range(groups + 1)],
        at_most_before=[ends(max(b - pool, 0), b).high for b in range(groups + 1)],
    )


def _standing(mechanism: DitheredBit, bands: _Bands, beyond: float) -> Interval:
    """From the smallest to the largest value that neither test rejects; the whole range where none is left.

    Boundary b is the largest value below group b's thresholds; values inside of a group lie between two boundaries.
    """
    values = [mechanism.first_threshold(b) - 1 for b in range(mechanism.groups + 1)]
    few_beyond = [bound <= beyond for bound in bands.at_least_beyond]
    more_before = [bound > beyond for bound in bands.at_most_before]
    spans = [(v, v) for v, few, more in zip(values, few_beyond, more_before, strict=True) if few and more]
    spans += [
        (below + 1, above - 1)
        for (below, above), few, more in zip(pairwise(values), few_beyond[1:], more_before, strict=False)
        if few and more and above - below > 1
    ]
    if not spans:
        return Interval(mechanism.low, mechanism.high)
    return Interval(mechanism.low + min(spans)[0], mechanism.low + max(last for _, last in spans))


def _pool(mechanism: DitheredBit, devices: int, level: float) -> int:
    """Groups in a pool: a share 1/K of them, at which a band's half-width equals a straight curve's fall, 1/K."""
    p = mechanism.truth
    noise = p * (1 - p) / (2 * p - 1) ** 2 + 0.25
    pools = max(math.cbrt(devices / (z_score(level) ** 2 * noise)), 1.0)
    return max(1, round(mechanism.groups / pools))


def _by_group(mechanism: DitheredBit, sums: Sequence[int]) -> tuple[list[int], list[int]]:
    """Reports and yes in each group."""
    groups = mechanism.groups
    return [int(n) for n in sums[2 : 2 + groups]], [int(n) for n in sums[2 + groups :]]


def _survival(mechanism: DitheredBit, share: float) -> float:
    """Survival at which this share of answers is yes."""
    p = mechanism.truth
    return (share - (1 - p)) / (2 * p - 1)
