"""One field of many events → integers on the metric's grid, and which of the events can be read at all.

Compiled once for each metric, because it runs for every event of every metric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.open_strings import cell_of
from discreet_contract.policy.model import CategoryField, NumberField, TextField

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_agent.event import Event
    from discreet_contract.policy.model import Signal
    from discreet_contract.policy.plan import MetricPlan

LARGEST = 2**62  # within what a row can keep: no run of legal events may make a state that cannot be stored


@dataclass(frozen=True, slots=True)
class Reader:
    """How one metric reads its field."""

    readable: Callable[[Sequence[Event]], Sequence[Event]]
    integers: Callable[[Sequence[Event]], list[int]]


def reader_of(plan: MetricPlan, signal: Signal) -> Reader:
    """A category is its place in the declared order, a text its cell, a number its steps of the grid."""
    name = plan.metric.field
    if not name:
        return Reader(lambda events: events, lambda events: [0] * len(events))
    match signal.fields[name]:
        case CategoryField(values=values):
            return _categories(name, {value: index for index, value in enumerate(values)})
        case TextField():
            return _texts(name, plan.metric.salt)
        case NumberField(min=low, max=high) if max(abs(low), abs(high)) / plan.grid < LARGEST:
            return _numbers(name, plan.grid)
    return _wide_numbers(name, plan.grid)


def _categories(name: str, places: dict[str, int]) -> Reader:
    """An event stored under an earlier policy may hold a value that is no longer declared: it is not read."""

    def readable(events: Sequence[Event]) -> list[Event]:
        return [event for event in events if event.fields.get(name) in places]

    def integers(events: Sequence[Event]) -> list[int]:
        return [places[event.fields[name]] for event in events]  # type: ignore[index] # readable ones hold text

    return Reader(readable, integers)


def _texts(name: str, salt: str) -> Reader:
    def integers(events: Sequence[Event]) -> list[int]:
        texts = [str(event.fields[name]) for event in events]
        cells = {text: cell_of(text, salt) for text in set(texts)}  # a hash for each different one only
        return [cells[text] for text in texts]

    return Reader(lambda events: _having(name, events), integers)


def _numbers(name: str, grid: float) -> Reader:
    def integers(events: Sequence[Event]) -> list[int]:
        return [round(event.fields[name] / grid) for event in events]  # type: ignore[operator] # validated: a number

    return Reader(lambda events: _having(name, events), integers)


def _wide_numbers(name: str, grid: float) -> Reader:
    """A field whose declared bounds lie beyond what a row can keep."""
    largest = float(LARGEST)

    def integers(events: Sequence[Event]) -> list[int]:
        steps = (float(event.fields[name]) / grid for event in events)
        return [round(min(max(step, -largest), largest)) for step in steps]

    return Reader(lambda events: _having(name, events), integers)


def _having(name: str, events: Sequence[Event]) -> list[Event]:
    return [event for event in events if name in event.fields]
