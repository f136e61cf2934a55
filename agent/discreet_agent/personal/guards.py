"""Guards: whether a signal came too often after a flag changed, so that the flag is reverted.

Counted is what happened from the change on and within the guard's window; what is late by its own
time is not held against the change. Times are whoever's the caller keeps, but all of one clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.condition import compile_condition
from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from discreet_contract.condition import FieldValue, Predicate
    from discreet_contract.policy.operation import Guard


@dataclass(frozen=True, slots=True)
class GuardRule:
    """A guard, ready to watch."""

    name: str
    signal: str
    flags: tuple[str, ...]
    at_most: int
    window_ms: int
    where: Predicate | None


def compile_guard(name: str, guard: Guard) -> GuardRule:
    """A guard of the policy."""
    where = None if guard.where is None else compile_condition(guard.where)
    return GuardRule(name, guard.from_, guard.flags, guard.at_most, seconds(guard.window) * 1000, where)


def concerns(rule: GuardRule, signal: str, fields: Mapping[str, FieldValue]) -> bool:
    """Whether an event is one of those that it counts."""
    return signal == rule.signal and (rule.where is None or rule.where(fields))


def counts(rule: GuardRule, event_ms: int, changed_ms: int) -> bool:
    """Whether an event falls into the time that the guard watches after a change: [change, change + window)."""
    return changed_ms <= event_ms < changed_ms + rule.window_ms


def is_over(rule: GuardRule, changed_ms: int, now_ms: int) -> bool:
    """Whether the change has stood the test: its window has ended."""
    return now_ms >= changed_ms + rule.window_ms


def trips(rule: GuardRule, events_ms: Iterable[int], changed_ms: int) -> bool:
    """Whether more than `at_most` of these events fall into that time."""
    return trips_at(rule, sum(counts(rule, event_ms, changed_ms) for event_ms in events_ms))


def trips_at(rule: GuardRule, counted: int) -> bool:
    """The same for a number that the caller has kept: one for each guard and change is enough."""
    return counted > rule.at_most
