"""How many events become one small state, and how one of them is taken out again: a pair for each reduction.

Folding commutes: any order of arrival, and any cutting into groups, gives the same state. States are
MessagePack builtins, so that they can be kept as rows; None stands for no event at all.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from discreet_agent.reading import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from discreet_agent.event import Event

    Integers = Callable[[Sequence[Event]], list[int]]

DAY_MS = 86_400_000
MOST_CELLS = 1000  # different values that one window counts; the first so many of them
_UNKNOWN = 0  # "at least once": a state of an older version, which did not count


class Undo(Enum):
    """What taking an event out again may come to, instead of a state."""

    NOT_UNDOABLE = "NOT_UNDOABLE"  # the state does not tell what it would be without the event: fold the rest anew


NOT_UNDOABLE: Final = Undo.NOT_UNDOABLE


@dataclass(frozen=True, slots=True)
class Reduction:
    """`fold(state, events, integers)` takes events in; `unfold(state, event, integers)` takes one of them out.

    `carry(state, event, integers)` makes up in a later window's state for an event that a released one has counted.
    """

    fold: Callable[[Any, Sequence[Event], Integers], Any]
    unfold: Callable[[Any, Event, Integers], Any]
    carry: Callable[[Any, Event, Integers], Any] = lambda _state, _event, _integers: NOT_UNDOABLE


# --- any: [how many]; 1 in older states, which stands for at least one -------------------------------------------


def _fold_any(state: Any, events: Sequence[Event], _integers: Integers) -> Any:
    if state is None:
        return [len(events)]
    return [state[0] + len(events)] if isinstance(state, list) else state


def _unfold_any(state: Any, _event: Event, _integers: Integers) -> Any:
    if not isinstance(state, list):
        return NOT_UNDOABLE
    return [state[0] - 1] if state[0] > 1 else None


# --- count: how many ---------------------------------------------------------------------------------------------


def _fold_count(state: Any, events: Sequence[Event], _integers: Integers) -> Any:
    return (state or 0) + len(events)


def _unfold_count(state: Any, _event: Event, _integers: Integers) -> Any:
    return NOT_UNDOABLE if state is None else state - 1  # 0 may be two events and two carried corrections


def _carry_count(state: Any, _event: Event, _integers: Integers) -> Any:
    return (state or 0) - 1


# --- active_days: {day: how many}; [day] in older states ---------------------------------------------------------


def _fold_days(state: Any, events: Sequence[Event], _integers: Integers) -> Any:
    counts = _days(state)
    for day, times in Counter([event.time_ms // DAY_MS for event in events]).items():
        counts[day] = counts.get(day, 0) + times if counts.get(day) != _UNKNOWN else _UNKNOWN
    return counts


def _unfold_days(state: Any, event: Event, _integers: Integers) -> Any:
    return _taken_out(_days(state), event.time_ms // DAY_MS)


def _days(state: Any) -> dict[int, int]:
    return dict.fromkeys(state, _UNKNOWN) if isinstance(state, list) else dict(state or {})


# --- sum: total; mean: [total, how many] -------------------------------------------------------------------------


def _fold_sum(state: Any, events: Sequence[Event], integers: Integers) -> Any:
    return _added(state or 0, integers(events))


def _unfold_sum(state: Any, event: Event, integers: Integers) -> Any:
    return NOT_UNDOABLE if state is None else _subtracted(state, integers([event])[0])


def _carry_sum(state: Any, event: Event, integers: Integers) -> Any:
    return _subtracted(state or 0, integers([event])[0])


def _fold_mean(state: Any, events: Sequence[Event], integers: Integers) -> Any:
    total, times = state or (0, 0)
    return [_added(total, integers(events)), times + len(events)]


def _unfold_mean(state: Any, event: Event, integers: Integers) -> Any:
    total = NOT_UNDOABLE if state is None else _subtracted(state[0], integers([event])[0])
    if total is NOT_UNDOABLE:
        return NOT_UNDOABLE
    return [total, state[1] - 1] if state[1] > 1 else None


def _added(total: int, values: list[int]) -> int:
    """A total that once reached the limit stays there, so that it is known for one that lost something."""
    least, greatest = min(values), max(values)
    if abs(total) + len(values) * max(-least, greatest) < LARGEST:
        return total + sum(values)
    for value in values:
        if abs(total) < LARGEST:
            total = min(max(total + value, -LARGEST), LARGEST)
    return total


def _subtracted(total: int, value: int) -> int | Undo:
    rest = total - value
    return rest if max(abs(total), abs(rest)) < LARGEST else NOT_UNDOABLE


# --- min, max: the value; last: [time, value], the greatest one of the latest ------------------------------------


def _fold_min(state: Any, events: Sequence[Event], integers: Integers) -> Any:
    least = min(integers(events))
    return least if state is None else min(state, least)


def _unfold_min(state: Any, event: Event, integers: Integers) -> Any:
    return state if state is not None and integers([event])[0] > state else NOT_UNDOABLE


def _fold_max(state: Any, events: Sequence[Event], integers: Integers) -> Any:
    greatest = max(integers(events))
    return greatest if state is None else max(state, greatest)


def _unfold_max(state: Any, event: Event, integers: Integers) -> Any:
    return state if state is not None and integers([event])[0] < state else NOT_UNDOABLE


def _fold_last(state: Any, events: Sequence[Event], integers: Integers) -> Any:
    latest = max([event.time_ms for event in events])
    value = max(integers([event for event in events if event.time_ms == latest]))
    return max(state or [-1, 0], [latest, value])


def _unfold_last(state: Any, event: Event, integers: Integers) -> Any:
    return state if state is not None and [event.time_ms, *integers([event])] < list(state) else NOT_UNDOABLE


# --- most_frequent: {value: how many} ----------------------------------------------------------------------------


def _fold_counts(state: Any, events: Sequence[Event], integers: Integers) -> Any:
    counts = dict(state or {})
    for value, times in Counter(integers(events)).items():  # in the order of their first coming
        if value in counts or len(counts) < MOST_CELLS:
            counts[value] = counts.get(value, 0) + times
    return counts


def _unfold_counts(state: Any, event: Event, integers: Integers) -> Any:
    if state is not None and len(state) >= MOST_CELLS:  # some values may have found no place
        return NOT_UNDOABLE
    return _taken_out(dict(state or {}), integers([event])[0])


def _taken_out(counts: dict[int, int], key: int) -> Any:
    times = counts.get(key, _UNKNOWN)
    if times == _UNKNOWN:
        return NOT_UNDOABLE
    counts[key] = times - 1
    if times == 1:
        del counts[key]
    return counts or None


REDUCTIONS: Final[Mapping[str, Reduction]] = {
    "any": Reduction(_fold_any, _unfold_any),
    "count": Reduction(_fold_count, _unfold_count, _carry_count),
    "active_days": Reduction(_fold_days, _unfold_days),
    "sum": Reduction(_fold_sum, _unfold_sum, _carry_sum),
    "mean": Reduction(_fold_mean, _unfold_mean),
    "min": Reduction(_fold_min, _unfold_min),
    "max": Reduction(_fold_max, _unfold_max),
    "last": Reduction(_fold_last, _unfold_last),
    "most_frequent": Reduction(_fold_counts, _unfold_counts),
}
