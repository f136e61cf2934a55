"""Days with an event (UTC): how many, or how many in a row. State: [events of the day]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.features.grid import DAY
from discreet_agent.features.states import emptied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Event
    from discreet_agent.features.states import State


@dataclass(frozen=True, slots=True)
class Days:
    """`active_days`, or `streak`: days in a row up to today. A today without an event yet breaks no streak."""

    is_streak: bool

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002 - see Aggregate
        """See `Aggregate`."""
        if state is None:
            return [len(events)]
        state[0] += len(events)
        return state

    def remove(self, state: State, start: int, event: Event) -> State | None:  # noqa: ARG002
        """See `Aggregate`."""
        return emptied(state)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[int, bool]:
        """See `Aggregate`."""
        if not self.is_streak:
            return len(states), False
        active = {start for start, _ in states}
        today = now_ms // 1000 // DAY * DAY
        day = today if today in active else today - DAY
        streak = 0
        while day in active:
            streak += 1
            day -= DAY
        return streak, False
