"""Counts, sums and means, decayed ones too: whole numbers in fixed point, so that any order gives the same sum.

A number is kept in steps of 2^-40 of its field's larger bound: sums of integers up to millions are exact, any other
is off by less than 1e-12 of that bound for each event.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.features.states import clamp, emptied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Event
    from discreet_agent.features.states import State

PRECISION_BITS = 40


def scale_of(low: float, high: float) -> float:
    """Steps per unit for numbers within these bounds: a power of two."""
    _, exponent = math.frexp(max(abs(low), abs(high), 2.0**-1000))
    return math.ldexp(1.0, max(-1000, min(1000, PRECISION_BITS - exponent)))


@dataclass(frozen=True, slots=True)
class Count:
    """How many events."""

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002 - see Aggregate
        """See `Aggregate`."""
        if state is None:
            return [len(events)]
        state[0] += len(events)
        return state

    def remove(self, state: State, start: int, event: Event) -> State | None:  # noqa: ARG002
        """See `Aggregate`."""
        return emptied(state)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[int, bool]:  # noqa: ARG002
        """See `Aggregate`."""
        return sum(state[0] for _, state in states), False


@dataclass(frozen=True, slots=True)
class Sum:
    """Sum of a number, or its mean. State: [events, steps]."""

    field: str
    scale: float
    is_mean: bool = False

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002
        """See `Aggregate`."""
        name, scale = self.field, self.scale
        total = sum([_steps(event, name, scale) for event in events])
        if state is None:
            return [len(events), clamp(total)]
        state[0] += len(events)
        state[1] = clamp(state[1] + total)
        return state

    def remove(self, state: State, start: int, event: Event) -> State | None:  # noqa: ARG002
        """See `Aggregate`."""
        state[1] = clamp(state[1] - _steps(event, self.field, self.scale))
        return emptied(state)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[float | None, bool]:  # noqa: ARG002
        """See `Aggregate`."""
        total = sum(state[1] for _, state in states) / self.scale
        if not self.is_mean:
            return total, False
        events = sum(state[0] for _, state in states)
        return (total / events if events else None), False


@dataclass(frozen=True, slots=True)
class Decayed:
    """Each event counts 2^(-age / half-life), or so many times its number.

    State: [events, steps at the bucket's start]. An event later than that weighs more than one there, at most
    twice, for buckets are no wider than a half-life. So a bucket's sum may be moved to any moment by one factor.
    """

    field: str  # "" counts
    scale: float
    half_life_ms: int

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:
        """See `Aggregate`."""
        total = sum([self._term(start, event) for event in events])
        if state is None:
            return [len(events), clamp(total)]
        state[0] += len(events)
        state[1] = clamp(state[1] + total)
        return state

    def remove(self, state: State, start: int, event: Event) -> State | None:
        """See `Aggregate`."""
        state[1] = clamp(state[1] - self._term(start, event))
        return emptied(state)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[float, bool]:
        """See `Aggregate`."""
        weighed = (state[1] * 2.0 ** ((start * 1000 - now_ms) / self.half_life_ms) for start, state in states)
        return math.fsum(weighed) / self.scale, False

    def _term(self, start: int, event: Event) -> int:
        weight = 2.0 ** ((event.time_ms - start * 1000) / self.half_life_ms)
        return _steps(event, self.field, weight * self.scale) if self.field else round(weight * self.scale)


def _steps(event: Event, field: str, scale: float) -> int:
    return round(event.fields[field] * scale)  # type: ignore[operator] # validated: a number
