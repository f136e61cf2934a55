"""Conditions over features, scores and segments: they hold, they do not, or nobody can say.

JSONLogic takes what is absent for null, and null for less than one. Here a condition decides nothing
while a feature, score or segment that it reads has no value. It may say itself what then holds, by a
default (`{var: [minutes, 0]}`) or by `missing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discreet_agent.personal.coerce import LogicError, is_true
from discreet_agent.personal.frame import Frame
from discreet_agent.personal.logic import compile_rule
from discreet_agent.personal.reads import needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.personal.frame import Step

_GROUPS = ("features", "scores", "segments")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, ready to be asked."""

    step: Step | None  # None: it cannot be compiled, so it decides nothing
    needs: frozenset[str]


def compile_condition(logic: Any, evaluators: Mapping[str, Any]) -> Condition:
    """A condition of the policy, with the shared ones that it may take in."""
    try:
        step = compile_rule(logic, evaluators)
    except LogicError:
        step = None
    return Condition(step, needs(logic, evaluators))


def holds(condition: Condition, values: Mapping[str, Any], now_ms: int) -> bool | None:
    """Whether it holds for values by plain name and by group; None where it cannot be said."""
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
    return bool(rest) and values.get(first, {}).get(rest.partition(".")[0]) is None
