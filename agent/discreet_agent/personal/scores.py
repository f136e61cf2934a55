"""Scores: weighted sums of features, or the logistic function of one. Values in, a value out.

Only finite numbers count, and true and false as 1 and 0. A feature that is a text, a mapping or
absent has no number: its declared fallback is taken, and without one the score has no value.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.personal.values import ScoreValue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.personal.values import FeatureValue, Output
    from discreet_contract.policy.personalization import Score

_LARGEST = sys.float_info.max


@dataclass(frozen=True, slots=True)
class ScoreRule:
    """A score, ready to be computed."""

    name: str
    is_logistic: bool
    bias: float
    weights: tuple[tuple[str, float, float | None], ...]  # feature, weight, fallback; by name, so sums never vary

    @property
    def features(self) -> frozenset[str]:
        """What it reads."""
        return frozenset(feature for feature, _, _ in self.weights)


def compile_score(name: str, score: Score) -> ScoreRule:
    """A score of the policy."""
    weights = tuple(
        (feature, weight, score.fallbacks.get(feature)) for feature, weight in sorted(score.weights.items())
    )
    return ScoreRule(name, score.kind == "logistic", score.bias, weights)


def score(rule: ScoreRule, features: Mapping[str, FeatureValue]) -> ScoreValue:
    """Its value now. Never infinite: sums stop at the largest float, so that JSON can carry them."""
    total, fallbacks = rule.bias, []
    for feature, weight, fallback in rule.weights:
        read = features.get(feature)
        number = None if read is None else as_number(read.value)
        if number is None:
            if fallback is None:
                return ScoreValue(rule.name, None)
            fallbacks.append(feature)
            number = fallback
        total += _finite(weight * number)
    total = _finite(total)
    return ScoreValue(rule.name, logistic(total) if rule.is_logistic else total, tuple(fallbacks))


def as_number(value: Output | None) -> float | None:
    """A feature's value as a number, or None."""
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def logistic(x: float) -> float:
    """1 / (1 + e⁻ˣ), from whichever side no power overflows. Error: a few units in the last place."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    power = math.exp(x)
    return power / (1 + power)


def _finite(value: float) -> float:
    return max(-_LARGEST, min(_LARGEST, value))
