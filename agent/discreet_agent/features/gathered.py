"""Distinct values, quantiles and sessions: bounded collections, one for each bucket.

Where a bound is reached the value is said to be that or more; which values came first never matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from discreet_agent.features.states import NOT_UNDOABLE, emptied

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Event
    from discreet_agent.features.states import NotUndoable, State


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different values, exact up to `at_most`. State: [events, {value: how often} or None: more than that].

    Texts are kept as digests of eight bytes.
    """

    field: str
    at_most: int
    is_text: bool

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002 - see Aggregate
        """See `Aggregate`."""
        if state is None:
            state = [0, {}]
        state[0] += len(events)
        counts = state[1]
        if counts is None:
            return state
        for event in events:
            value = self._value(event)
            counts[value] = counts.get(value, 0) + 1
        if len(counts) > self.at_most:
            state[1] = None
        return state

    def remove(self, state: State, start: int, event: Event) -> State | NotUndoable | None:  # noqa: ARG002
        """See `Aggregate`."""
        counts = state[1]
        if counts is None:
            return NOT_UNDOABLE
        value = self._value(event)
        if value not in counts:
            return NOT_UNDOABLE
        counts[value] -= 1
        if not counts[value]:
            del counts[value]
        return emptied(state)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[int, bool]:  # noqa: ARG002
        """See `Aggregate`."""
        if any(state[1] is None for _, state in states):
            return self.at_most, True
        values = set().union(*(state[1] for _, state in states))
        return min(len(values), self.at_most), len(values) > self.at_most

    def _value(self, event: Event) -> Any:
        value = event.fields[self.field]
        return blake2b(str(value).encode(), digest_size=8).hexdigest() if self.is_text else value


_ERROR = 0.01
_GROWTH = (1 + _ERROR) / (1 - _ERROR)
_LOG_GROWTH = math.log(_GROWTH)
_SMALLEST = 1e-6  # of the field's larger bound; what is nearer to zero is zero


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile within 1 %, from bins that grow by a constant factor (DDSketch: Masson, Rim, Lee, VLDB 2019).

    State: [events, {bin: how many}]. Bins are bounded by the field's bounds: some 700 on either side of zero.
    """

    field: str
    quantile: float
    low: float
    high: float

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002
        """See `Aggregate`."""
        if state is None:
            state = [0, {}]
        state[0] += len(events)
        bins = state[1]
        for event in events:
            place = self._bin(event.fields[self.field])
            bins[place] = bins.get(place, 0) + 1
        return state

    def remove(self, state: State, start: int, event: Event) -> State | NotUndoable | None:  # noqa: ARG002
        """See `Aggregate`."""
        place = self._bin(event.fields[self.field])
        if place not in state[1]:
            return NOT_UNDOABLE
        state[1][place] -= 1
        if not state[1][place]:
            del state[1][place]
        return emptied(state)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[float | None, bool]:  # noqa: ARG002
        """The lower quantile: the value of rank floor(quantile × (events - 1)), counted from 0."""
        bins: dict[int, int] = {}
        for _, state in states:
            for place, count in state[1].items():
                bins[place] = bins.get(place, 0) + count
        if not bins:
            return None, False
        rank = math.floor(self.quantile * (sum(bins.values()) - 1))
        for place in sorted(bins):
            rank -= bins[place]
            if rank < 0:
                break
        return min(max(self._value(place), self.low), self.high), False

    @property
    def _unit(self) -> float:
        return max(abs(self.low), abs(self.high)) * _SMALLEST

    def _bin(self, number: Any) -> int:
        size = abs(number) / self._unit if self._unit else 0.0
        if size < 1:
            return 0
        place = 1 + math.ceil(math.log(size) / _LOG_GROWTH)
        return place if number > 0 else -place

    def _value(self, place: int) -> float:
        if place == 0:
            return 0.0
        size = 2 * _GROWTH ** (abs(place) - 1) / (_GROWTH + 1) * self._unit
        return size if place > 0 else -size


@dataclass(frozen=True, slots=True)
class Sessions:
    """Runs of events with no longer silence than `gap`: how many, or the length of the last in seconds.

    State: [events, [[first ms, last ms], …]]. A run may go on over the border of two buckets. How many there can be in
    a bucket is bounded by the check of the policy: a window has at most 100,000 gaps.
    """

    gap_ms: int
    is_length: bool

    def add(self, state: State | None, start: int, events: Sequence[Event]) -> State:  # noqa: ARG002
        """See `Aggregate`."""
        if state is None:
            state = [0, []]
        state[0] += len(events)
        state[1] = self._joined([*state[1], *([event.time_ms, event.time_ms] for event in events)])
        return state

    def remove(self, state: State, start: int, event: Event) -> State | NotUndoable | None:  # noqa: ARG002
        """See `Aggregate`."""
        return NOT_UNDOABLE if state[0] > 1 else emptied(state)

    def read(self, states: Sequence[tuple[int, State]], now_ms: int) -> tuple[float | None, bool]:  # noqa: ARG002
        """See `Aggregate`."""
        runs = self._joined([run for _, state in states for run in state[1]])
        if not self.is_length:
            return len(runs), False
        return ((runs[-1][1] - runs[-1][0]) / 1000 if runs else None), False

    def _joined(self, runs: list[list[int]]) -> list[list[int]]:
        joined: list[list[int]] = []
        for first, last in sorted(runs):
            if joined and first - joined[-1][1] <= self.gap_ms:
                joined[-1][1] = max(joined[-1][1], last)
            else:
                joined.append([first, last])
        return joined
