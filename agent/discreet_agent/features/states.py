"""What every aggregate has in common: a state of one bucket, events into it and out of it, a value out of many.

A state is a list of what MessagePack can keep; its first item is the number of events in it. `add` may change the
state that it is given.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Event
    from discreet_agent.personal.values import Plain

State: TypeAlias = list[Any]


class _Marker(Enum):
    NOT_UNDOABLE = "only the other events can tell"


NOT_UNDOABLE: Final = _Marker.NOT_UNDOABLE
NotUndoable: TypeAlias = Literal[_Marker.NOT_UNDOABLE]

LARGEST = 2**62  # what a row can keep; beyond it sums stay where they are


class Aggregate(Protocol):
    """How the events of one bucket become a state, and the states of a window a value."""

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:
        """The state with more events, at least one. `start`: of the bucket, in seconds."""

    def remove(self, state: State, start: int, event: Event) -> State | NotUndoable | None:
        """The state without an event that was added; None where it was the only one."""

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[Plain | None, bool]:
        """(value, whether it is that or more). States by bucket, oldest first; there may be none."""


def clamp(total: int) -> int:
    """A sum within what a row can keep."""
    return max(-LARGEST, min(LARGEST, total))


def emptied(state: State) -> State | None:
    """A state with one event less; None where that was the last one."""
    state[0] -= 1
    return state if state[0] else None
