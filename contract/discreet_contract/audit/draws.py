"""Reports against the declared odds: as likely as stated, equally wide for both neighbours, drawn anew each time.

All are tests against bounds that hold for any number of samples (Dvoretzky–Kiefer–Wolfowitz
with Massart's constant, Chernoff, the exact binomial), so their false-alarm odds are what they
say. The surprise −ln P(output) is what a scale that is off moves most: for discrete Laplace
it is the distance from the value, for randomised responses the share of lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.audit.odds import Floats, Noised, Odds

_PARTS = range(2, 65)  # m; twice the number of answers is among them up to ε = 3
_SLACK = 1e-9  # of floating point
_STEPS = tuple(2.0 ** (place / 4) for place in range(-40, 0))  # λ; any would hold, some grid comes near the best


@dataclass(frozen=True, slots=True)
class Gap:
    """How far the distribution function of samples is from that of the odds, and how far chance would take it."""

    distance: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether chance explains it."""
        return self.distance <= self.allowed

    @property
    def part(self) -> float:
        """Share of what is allowed."""
        return self.distance / self.allowed


@dataclass(frozen=True, slots=True)
class Surprise:
    """Mean surprise over its expectation, in nats (infinite for an impossible output), and what chance allows."""

    excess: float
    least: float
    most: float

    @property
    def holds(self) -> bool:
        """Whether chance explains it."""
        return self.least <= self.excess <= self.most

    @property
    def part(self) -> float:
        """Share of what is allowed on its side."""
        return self.excess / (self.most if self.excess > 0 else self.least)


def gap(noised: Noised, odds: Odds, alpha: float) -> Gap:
    """Samples against the odds they should follow; fails by chance with odds of at most `alpha`."""
    return Gap(_distance(noised, odds), _massart(len(noised), alpha))


def lanes(noised: Noised, odds: Odds, alpha: float) -> Gap:
    """The same with the outputs put in another order: by what is left when they are divided by m, for each small m.

    A public part of a report, a direction or a threshold, is where its neighbours differ least: if it were
    chosen by the value's parity, the distribution function in the outputs' own order would not show it.
    """
    place = np.arange(odds.first, odds.first + len(odds.probability))
    distance = max((_residue_distance(noised, place, odds, parts) for parts in _PARTS), default=0.0)
    return Gap(distance, _massart(len(noised), alpha / len(_PARTS)))


def _residue_distance(noised: Noised, place: Noised, odds: Odds, parts: int) -> float:
    declared = np.bincount(place % parts, weights=odds.probability, minlength=parts)
    seen = np.bincount(noised % parts, minlength=parts) / max(len(noised), 1)
    return float(np.max(np.abs(np.cumsum(seen - declared)))) if len(noised) else 0.0


def surprise(samples: Sequence[tuple[Noised, Odds]], alpha: float) -> Surprise:
    """The surprises of samples from one device or several, all together; fails by chance at most `alpha`.

    Chernoff: the total of independent surprises passes t with odds of at most exp(Σ K(λ) − λt) for every λ > 0, K
    being the logarithm of a surprise's moment generating function, known from the odds; likewise below.
    """
    count = sum(len(noised) for noised, _ in samples)
    if any(np.any(odds.of(noised) <= 0) for noised, odds in samples):
        return Surprise(math.inf, 0.0, _SLACK)
    seen = sum(float(-np.log(odds.of(noised)).sum()) for noised, odds in samples) / count
    expected = sum(len(noised) * _cumulant(odds, 0.0) for noised, odds in samples) / count
    grade = math.log(2 / alpha) / count
    ends = []
    for sign in (-1, 1):
        totals = (
            sum(len(noised) * _cumulant(odds, sign * step) for noised, odds in samples) / count for step in _STEPS
        )
        ends.append(min((total + grade) / step for total, step in zip(totals, _STEPS, strict=True)))
    return Surprise(seen - expected, -(ends[0] + expected) - _SLACK, ends[1] - expected + _SLACK)


def _cumulant(odds: Odds, power: float) -> float:
    """Cumulant ln E[exp(power · surprise)], which is ln Σ P^(1 − power); at 0 the expected surprise itself."""
    probability = odds.probability[odds.probability > 0]
    if power == 0:
        return float(-(probability * np.log(probability)).sum())
    return float(np.log((probability ** (1 - power)).sum()))


def widths(low: Noised, high: Noised, centres: tuple[int, int], alpha: float) -> tuple[float, float]:
    """(largest gap between the noise of both neighbours, gap that chance allows). For additive noise."""
    noise = [np.sort(side - centre) for side, centre in zip((low, high), centres, strict=True)]
    at = np.concatenate(noise)
    shares = [np.searchsorted(side, at, side="right") / len(side) for side in noise]
    return float(np.max(np.abs(shares[0] - shares[1]))), sum(_massart(len(side), alpha / 2) for side in noise)


def rarest_agreement(pairs: Noised, odds: Odds, alpha: float) -> tuple[float, float]:
    """(least p-value, α it must reach) of how often the two reports of a pair agree; `pairs` is n × 2.

    They agree if they are equal, or on the same side of the median; how often that happens by
    chance follows from the odds, and independent pairs make it binomial.
    """
    probability, middle = odds.probability, odds.first + int(np.searchsorted(odds.cumulative, 0.5))
    upper = float(probability[middle - odds.first :].sum())
    same_side = (pairs[:, 0] >= middle) == (pairs[:, 1] >= middle)
    equal = pairs[:, 0] == pairs[:, 1]
    expected = ((same_side, upper**2 + (1 - upper) ** 2), (equal, float((probability**2).sum())))
    values = [_two_sided(int(seen.sum()), len(pairs), min(share, 1.0)) for seen, share in expected]
    return min(values), alpha / len(values)


def _two_sided(hits: int, count: int, share: float) -> float:
    """p-value: twice the smaller tail of the exact binomial."""
    tails = stats.binom.cdf(hits, count, share), stats.binom.sf(hits - 1, count, share)
    return min(1.0, 2 * float(min(tails)))


def _massart(count: int, alpha: float) -> float:
    return math.sqrt(math.log(2 / alpha) / (2 * count)) if count else math.inf


def _distance(noised: Noised, odds: Odds) -> float:
    """At every output seen, from both sides; no gap of two step functions is larger elsewhere on the odds' own grid."""
    if not len(noised):
        return 0.0
    last = odds.first + len(odds.cumulative) - 1
    seen = np.unique(noised)
    points = np.unique(np.concatenate([seen, seen - 1]))
    sample = np.searchsorted(np.sort(noised), points, side="right") / len(noised)
    place = np.clip(points - odds.first, 0, last - odds.first)
    declared: Floats = np.where(points < odds.first, 0.0, odds.cumulative[place])
    return float(np.max(np.abs(sample - declared)))
