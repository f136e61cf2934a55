"""Reports against the declared odds: as likely as stated, equally wide for both neighbours, drawn anew each time.

All three are tests against bounds that hold for any number of samples (Dvoretzky–Kiefer–Wolfowitz
with Massart's constant, Bernstein, the exact binomial), so their false-alarm odds are what they
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
    from discreet_contract.audit.odds import Floats, Noised, Odds


@dataclass(frozen=True, slots=True)
class Fit:
    """How far samples are from odds, and how far chance would take them."""

    distance: float  # largest gap between the distribution functions
    distance_allowed: float
    surprise: float  # mean surprise over its expected value, in nats; infinite for an impossible output
    surprise_allowed: float

    @property
    def holds(self) -> bool:
        """Whether chance explains both."""
        return self.distance <= self.distance_allowed and abs(self.surprise) <= self.surprise_allowed


def fit(noised: Noised, odds: Odds, alpha: float) -> Fit:
    """Samples against the odds they should follow; each of the two comparisons fails by chance at most α/2."""
    count = len(noised)
    return Fit(_distance(noised, odds), _massart(count, alpha / 2), *_surprise(noised, odds, alpha / 2))


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


def _surprise(noised: Noised, odds: Odds, alpha: float) -> tuple[float, float]:
    """(mean over expectation, what chance allows) by Bernstein: odds of t are 2·exp(−nt²/(2(variance + reach·t/3)))."""
    possible = odds.probability > 0
    surprises = -np.log(odds.probability[possible])
    weights = odds.probability[possible] / odds.probability[possible].sum()
    expected = float(surprises @ weights)
    variance = float(((surprises - expected) ** 2) @ weights)
    reach = float(np.max(np.abs(surprises - expected)))
    seen = odds.of(noised)
    if not len(seen) or np.any(seen <= 0):
        return math.inf, 0.0
    grade = math.log(2 / alpha) / len(seen)
    allowed = grade * reach / 3 + math.sqrt((grade * reach / 3) ** 2 + 2 * grade * variance)
    return float(-np.log(seen).mean()) - expected, allowed + 1e-9
