"""The least, the greatest, the last: what one event decides. Taking that one back asks the others again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discreet_agent.features.states import NOT_UNDOABLE, emptied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Event
    from discreet_agent.features.states import NotUndoable, State
    from discreet_agent.personal.values import Plain


@dataclass(frozen=True, slots=True)
class Extreme:
    """The least or greatest number. State: [events, number, how many have it]."""

    field: str
    is_max: bool

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002 - see Aggregate
        """See `Aggregate`."""
        numbers = [event.fields[self.field] for event in events]
        best: Any = max(numbers) if self.is_max else min(numbers)
        return _joined(state, len(events), best, numbers.count(best), self._is_better)

    def remove(self, state: State, start: int, event: Event) -> State | NotUndoable | None:  # noqa: ARG002
        """See `Aggregate`."""
        return _without(state, event.fields[self.field])

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[Plain | None, bool]:  # noqa: ARG002
        """See `Aggregate`."""
        numbers = [state[1] for _, state in states]
        if not numbers:
            return None, False
        return (max(numbers) if self.is_max else min(numbers)), False

    def _is_better(self, one: Any, other: Any) -> bool:
        return bool(one > other if self.is_max else one < other)


@dataclass(frozen=True, slots=True)
class Last:
    """The value of the last event; of several at one moment the greatest. State: [events, [ms, value], how many]."""

    field: str

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002
        """See `Aggregate`."""
        moments: list[Any] = [[event.time_ms, event.fields[self.field]] for event in events]
        best = max(moments)
        return _joined(state, len(events), best, moments.count(best), lambda one, other: bool(one > other))

    def remove(self, state: State, start: int, event: Event) -> State | NotUndoable | None:  # noqa: ARG002
        """See `Aggregate`."""
        return _without(state, [event.time_ms, event.fields[self.field]])

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[Plain | None, bool]:  # noqa: ARG002
        """See `Aggregate`."""
        return (states[-1][1][1][1] if states else None), False


@dataclass(frozen=True, slots=True)
class TimeSince:
    """Seconds since the last event, never negative. State: [events, ms, how many at that moment]."""

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002
        """See `Aggregate`."""
        times = [event.time_ms for event in events]
        best = max(times)
        return _joined(state, len(events), best, times.count(best), lambda one, other: bool(one > other))

    def remove(self, state: State, start: int, event: Event) -> State | NotUndoable | None:  # noqa: ARG002
        """See `Aggregate`."""
        return _without(state, event.time_ms)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[float | None, bool]:
        """See `Aggregate`."""
        return (max(0, now_ms - states[-1][1][1]) / 1000 if states else None), False


def _joined(state: State | None, events: int, best: Any, times: int, is_better: Any) -> State:
    if state is None:
        return [events, best, times]
    state[0] += events
    if state[1] == best:
        state[2] += times
    elif is_better(best, state[1]):
        state[1], state[2] = best, times
    return state


def _without(state: State, value: Any) -> State | NotUndoable | None:
    if state[0] > 1 and state[1] == value:
        if state[2] == 1:
            return NOT_UNDOABLE
        state[2] -= 1
    return emptied(state)
