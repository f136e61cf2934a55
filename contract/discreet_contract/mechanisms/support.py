"""Odds of support, and what follows from two of them: estimate, variance, and score intervals.

A report *supports* the labels it speaks for: the category it names, or every category that its
hash value agrees with. A device supports its own label with probability `own` and any other with
probability `other`, whatever its true value. Everything else is the same for all such mechanisms
("pure" protocols: Wang, Blocki, Li & Jha 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.mechanism import Interval, z_score

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Support:
    """Probability that a report supports the device's own label, and any other label; own > other."""

    own: float
    other: float

    @property
    def gap(self) -> float:
        """By how much holding a label raises its support."""
        return self.own - self.other

    def estimate(self, counts: Iterable[float], devices: int) -> tuple[float, ...]:
        """(count/n − other) / (own − other) for each label: unbiased, never clipped."""
        return tuple((count / devices - self.other) / self.gap for count in counts)

    def variance(self, counts: Iterable[float], devices: int) -> tuple[float, ...]:
        """Of each estimate; the unknown true share is replaced by its unbiased estimate (never gives 0 or less)."""
        shares = self.estimate(counts, devices)
        return tuple(self.count_variance(share) / (devices * self.gap**2) for share in shares)

    def interval(self, counts: Iterable[float], devices: int, level: float) -> tuple[Interval, ...]:
        """Score interval: every true share whose own noise explains the count, with continuity correction."""
        z = z_score(level)
        return tuple(self._score_interval(count, devices, z) for count in counts)

    def worst_error(self, devices: int) -> float:
        """Standard error of one share; the worst case over true shares."""
        worst = max(self.count_variance(0.0), self.count_variance(1.0))
        return math.sqrt(worst / devices) / self.gap

    def mean_variance(self, labels: int) -> float:
        """Variance times n, averaged over all labels; where each device holds one, the same for every distribution.

        What mechanisms are compared by. For many labels it is the variance of a rare one.
        """
        rare, full = (self.count_variance(share) / self.gap**2 for share in (0.0, 1.0))
        return rare + (full - rare) / labels

    def count_variance(self, share: float) -> float:
        """Variance per device of one label's count when this share of devices truly holds it."""
        p, q = self.own, self.other
        return q * (1 - q) + share * (p * (1 - p) - q * (1 - q))

    def _score_interval(self, count: float, devices: int, z: float) -> Interval:
        """Solve (excess − share·gap)² = z²·variance(share)/n, a quadratic in the share, at count ± ½.

        Squared, the equation also has roots on the wrong side of excess/gap, where variance is steep in the share and
        hardly anybody is named by chance: an end is never further in than that.
        """
        slope = self.count_variance(1.0) - self.count_variance(0.0)
        ends = []
        for direction in (-1, 1):
            excess = (count + direction / 2) / devices - self.other
            centre = 2 * excess * self.gap + z * z * slope / devices
            constant = excess * excess - z * z * self.count_variance(0.0) / devices
            root = math.sqrt(max(centre * centre - 4 * self.gap**2 * constant, 0.0))
            outermost = min if direction < 0 else max
            ends.append(outermost((centre + direction * root) / (2 * self.gap**2), excess / self.gap))
        return Interval(ends[0], ends[1])


def wilson_interval(count: float, trials: int, level: float) -> Interval:
    """Score interval with continuity correction for the mean success probability of independent trials.

    Trials need not be alike: unlike ones have a smaller variance than the binomial it assumes.
    """
    z = z_score(level)
    ends = []
    for direction in (-1, 1):
        share = min(max((count + direction / 2) / trials, 0.0), 1.0)
        centre = share + z * z / (2 * trials)
        reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
        ends.append((centre + direction * reach) / (1 + z * z / trials))
    return Interval(ends[0] if count > 0 else 0.0, ends[1] if count < trials else 1.0)
