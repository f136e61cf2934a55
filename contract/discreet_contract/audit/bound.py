"""A lower bound on ε from what two neighbours sent: Clopper–Pearson on an event chosen beforehand.

If a mechanism is ε-private, no event is likelier by more than e^ε for one neighbour than for
the other. An event is chosen on one half of the reports, where its bound is largest, and certified on the other
half, so the choosing costs no confidence (Jagielski, Ullman & Oprea 2020, with the split of
Ding et al. 2018). Events are sets of outputs above or below a score: the output itself, its
likelihood ratio as declared, and its likelihood ratio as seen in the first half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    import numpy.typing as npt

    from discreet_contract.audit.odds import Floats, Odds

    Bools: TypeAlias = npt.NDArray[np.bool_]
    Counts: TypeAlias = npt.NDArray[np.int64]
    Sample: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.float64]
    _Score: TypeAlias = Callable[[Sample], Floats]

_THRESHOLDS = 64
_TELLING = 0.05
_MIN_SEEN = 20  # an output's seen ratio is a score only where outputs repeat so often on average


@dataclass(frozen=True, slots=True)
class Bound:
    """ε is at least `epsilon` but for odds of `alpha`; hits of the event among each neighbour's second half."""

    epsilon: float
    alpha: float
    likelier: int
    likelier_of: int
    rarer: int
    rarer_of: int


@dataclass(frozen=True, slots=True)
class _Event:
    """Outputs whose score lies above (or not above) a threshold; likelier for one neighbour."""

    score: _Score
    threshold: float
    is_above: bool
    favours_high: bool

    def holds(self, noised: Sample) -> Bools:
        held: Bools = (self.score(noised) >= self.threshold) == self.is_above
        return held


def lower_bound(low: Sample, high: Sample, alpha: float, declared: tuple[Odds, Odds] | None = None) -> Bound:
    """A bound on ε that is too high with odds of at most `alpha`.

    `low` and `high` hold one output a report, or one score a series of reports; `declared` the
    odds that the policy states for an output under both.
    """
    first_low, first_high = low[::2], high[::2]
    scores: list[_Score] = [_output, _seen_ratio(first_low, first_high)]
    if declared is not None:
        scores.append(_declared_ratio(*declared))
    best, event = _choose(first_low, first_high, scores, alpha)
    if not best:  # too few to be this sure of anything: take what looks most telling
        _, event = _choose(first_low, first_high, scores, _TELLING)
    likelier, rarer = (high[1::2], low[1::2]) if event.favours_high else (low[1::2], high[1::2])
    hits, misses = int(event.holds(likelier).sum()), int(event.holds(rarer).sum())
    [epsilon] = _epsilon(np.array([hits]), len(likelier), np.array([misses]), len(rarer), alpha)
    return Bound(float(epsilon), alpha, hits, len(likelier), misses, len(rarer))


def log_ratio(low: Sample, high: Sample, noised: Sample) -> Floats:
    """Ln of how much likelier each of `noised` is under `high` than under `low`, as seen, with half a count added."""
    values = np.unique(np.concatenate([low, high]))
    seen = [np.searchsorted(values, side) for side in (low, high)]
    counts = [np.bincount(places, minlength=len(values)) + 0.5 for places in seen]
    ratio = np.log(counts[1] / counts[1].sum()) - np.log(counts[0] / counts[0].sum())
    place = np.clip(np.searchsorted(values, noised), 0, len(values) - 1)
    return np.where(values[place] == noised, ratio[place], 0.0)


def _output(noised: Sample) -> Floats:
    return noised.astype(np.float64)


def _seen_ratio(low: Sample, high: Sample) -> _Score:
    if len(np.unique(np.concatenate([low, high]))) * _MIN_SEEN > len(low) + len(high):
        return _output
    return lambda noised: log_ratio(low, high, noised)


def _declared_ratio(low: Odds, high: Odds) -> _Score:
    def score(noised: Sample) -> Floats:
        tiny = np.finfo(np.float64).tiny  # what neither gives scores 0
        return np.log(np.maximum(high.of(noised), tiny)) - np.log(np.maximum(low.of(noised), tiny))

    return score


def _choose(low: Sample, high: Sample, scores: list[_Score], alpha: float) -> tuple[float, _Event]:
    """The event with the largest bound on these samples, and that bound."""
    best, chosen = 0.0, _Event(_output, 0.0, is_above=True, favours_high=True)
    for score in scores:
        thresholds, above = _above(score(low), score(high))
        for is_above in (True, False):
            hits = above if is_above else (len(low) - above[0], len(high) - above[1])
            for favoured in (0, 1):
                sizes = (len(low), len(high))
                bounds = _epsilon(hits[favoured], sizes[favoured], hits[1 - favoured], sizes[1 - favoured], alpha)
                place = int(np.argmax(bounds))
                if bounds[place] > best:
                    best = float(bounds[place])
                    chosen = _Event(score, float(thresholds[place]), is_above, favours_high=favoured == 1)
    return best, chosen


def _above(low: Floats, high: Floats) -> tuple[Floats, tuple[Counts, Counts]]:
    """Thresholds, and how many scores of each side lie at or above each."""
    pooled = np.unique(np.concatenate([low, high]))
    thresholds = pooled[np.unique(np.linspace(0, len(pooled) - 1, _THRESHOLDS).astype(int))]
    counts = [len(side) - np.searchsorted(np.sort(side), thresholds, side="left") for side in (low, high)]
    return thresholds, (counts[0], counts[1])


def _epsilon(hits: Counts, of: int, misses: Counts, rest: int, alpha: float) -> Floats:
    """Ln of the least probability that explains `hits` over the largest that explains `misses`; at least 0."""
    least = np.where(hits > 0, stats.beta.ppf(alpha / 2, np.maximum(hits, 1), of - hits + 1), 0.0)
    largest = np.where(misses < rest, stats.beta.isf(alpha / 2, misses + 1, np.maximum(rest - misses, 1)), 1.0)
    with np.errstate(divide="ignore"):
        ratio: Floats = np.log(least / largest)
    return np.maximum(ratio, 0.0)
