"""Segments: groups that a device puts itself in, and stays in for a while.

A device enters where `when` holds and `until` does not: who would leave at once does not enter. It
leaves where `until` holds, or where `when` no longer does if there is no `until`, but not before
`min_stay`. Where a feature or score that decides has no value, nothing changes: it neither enters
nor leaves. A rule may say itself what then holds, by a default (`{var: [minutes, 0]}`) or `missing`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from discreet_agent.personal.coerce import LogicError, is_true
from discreet_agent.personal.frame import Frame
from discreet_agent.personal.logic import compile_rule
from discreet_agent.personal.reads import needs
from discreet_agent.personal.values import SegmentState
from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from discreet_agent.personal.frame import Step
    from discreet_agent.personal.values import FeatureValue, ScoreValue
    from discreet_contract.policy.personalization import Segment

_GROUPS = ("features", "scores")


@dataclass(frozen=True, slots=True)
class _Condition:
    step: Step | None  # None: it cannot be compiled, so it decides nothing
    needs: frozenset[str]


@dataclass(frozen=True, slots=True)
class SegmentRule:
    """A segment, ready to be judged."""

    name: str
    when: _Condition
    until: _Condition | None
    min_stay_ms: int


def compile_segment(name: str, segment: Segment, evaluators: Mapping[str, Any] | None = None) -> SegmentRule:
    """A segment of the policy. One with a rule that cannot be compiled never changes."""
    until = None if segment.until is None else _condition(segment.until, evaluators or {})
    return SegmentRule(name, _condition(segment.when, evaluators or {}), until, seconds(segment.min_stay) * 1000)


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
    if not _holds(rule.when, values, now_ms):
        return False
    return rule.until is None or not _holds(rule.until, values, now_ms)


def _leaves(rule: SegmentRule, state: SegmentState, values: Mapping[str, Any], now_ms: int) -> bool:
    if state.since_ms is not None and now_ms - state.since_ms < rule.min_stay_ms:
        return False
    if rule.until is not None:
        return _holds(rule.until, values, now_ms) is True
    return _holds(rule.when, values, now_ms) is False


def _condition(logic: Any, evaluators: Mapping[str, Any]) -> _Condition:
    try:
        step = compile_rule(logic, evaluators)
    except LogicError:
        step = None
    return _Condition(step, needs(logic, evaluators))


def _holds(condition: _Condition, values: Mapping[str, Any], now_ms: int) -> bool | None:
    """None where it cannot be said."""
    if condition.step is None or any(_is_absent(name, values) for name in condition.needs):
        return None
    try:
        return is_true(condition.step(values, Frame(values, "", lambda: now_ms)))
    except LogicError:
        return None


def _is_absent(name: str, values: Mapping[str, Any]) -> bool:
    """Whether the feature or score itself has no value; a category of it that never came is nothing absent."""
    first, _, rest = name.partition(".")
    if first not in _GROUPS:
        return values.get(first) is None
    return bool(rest) and values[first].get(rest.partition(".")[0]) is None
