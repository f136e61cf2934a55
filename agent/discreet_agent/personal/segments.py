"""Segments: groups that a device puts itself in, and stays in for a while.

A device enters where `when` holds and `until` does not: who would leave at once does not enter. It
leaves where `until` holds, or where `when` no longer does if there is no `until`, but not before
`min_stay`. Where a feature or score that decides has no value, nothing changes: it neither enters
nor leaves (conditions.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from discreet_agent.personal.conditions import compile_condition, holds
from discreet_agent.personal.values import SegmentState
from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from discreet_agent.personal.conditions import Condition
    from discreet_agent.personal.values import FeatureValue, ScoreValue
    from discreet_contract.policy.personalization import Segment


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """A segment, ready to be judged."""

    name: str
    when: Condition
    until: Condition | None
    min_stay_ms: int


def compile_segment(name: str, segment: Segment, evaluators: Mapping[str, Any] | None = None) -> SegmentRule:
    """A segment of the policy. One with a rule that cannot be compiled never changes."""
    until = None if segment.until is None else compile_condition(segment.until, evaluators or {})
    return SegmentRule(name, compile_condition(segment.when, evaluators or {}), until, seconds(segment.min_stay) * 1000)


def known(features: Iterable[FeatureValue], scores: Iterable[ScoreValue]) -> dict[str, Any]:
    """What segments read: every value by its plain name, and by `features.` or `scores.` before it."""
    of_features: dict[str, Any] = {feature.name: feature.value for feature in features}
    of_scores: dict[str, Any] = {score.name: score.value for score in scores}
    return {**of_features, **of_scores, "features": of_features, "scores": of_scores}


def judge(rule: SegmentRule, state: SegmentState | None, values: Mapping[str, Any], now_ms: int) -> SegmentState:
    """The state after looking at `known` values. The same object where nothing changed.

    A clock set back lets a stay begin anew: `since_ms` never lies after now, so nobody
    stays longer than `min_stay` on account of a wrong clock.
    """
    if state is None:
        state = SegmentState(rule.name, is_inside=False, since_ms=None)
    if state.is_inside and state.since_ms is not None and state.since_ms > now_ms:
        state = replace(state, since_ms=now_ms)
    moves = _leaves(rule, state, values, now_ms) if state.is_inside else _enters(rule, values, now_ms)
    return SegmentState(rule.name, is_inside=not state.is_inside, since_ms=now_ms) if moves else state


def _enters(rule: SegmentRule, values: Mapping[str, Any], now_ms: int) -> bool:
    if not holds(rule.when, values, now_ms):
        return False
    return rule.until is None or not holds(rule.until, values, now_ms)


def _leaves(rule: SegmentRule, state: SegmentState, values: Mapping[str, Any], now_ms: int) -> bool:
    if state.since_ms is not None and now_ms - state.since_ms < rule.min_stay_ms:
        return False
    if rule.until is not None:
        return holds(rule.until, values, now_ms) is True
    return holds(rule.when, values, now_ms) is False
