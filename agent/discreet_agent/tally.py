"""A window's events of one metric, folded into a small state; the state → one integer.

Compiled once for each metric; events are folded in groups, one signal of one commit at a time. Folding
commutes: any order of arrival gives the same state (`reductions`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discreet_agent.reading import reader_of
from discreet_agent.reductions import REDUCTIONS
from discreet_contract.clock import window_start
from discreet_contract.condition import compile_condition
from discreet_contract.mechanisms.histogram import bucket_of
from discreet_contract.mechanisms.open_strings import cell_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from discreet_agent.event import Event
    from discreet_agent.reading import Reader
    from discreet_agent.reductions import Reduction
    from discreet_contract.condition import Predicate
    from discreet_contract.policy.model import Signal
    from discreet_contract.policy.plan import MetricPlan


class SignalGroup:
    """Events of one signal that are folded together; parted into windows once for each length of window."""

    def __init__(self, events: Sequence[Event]) -> None:
        times = [event.time_ms for event in events]
        self._events = events
        self._first, self._last = min(times) // 1000, max(times) // 1000
        self._by_length: dict[int, Mapping[int, Sequence[Event]]] = {}

    def windows(self, length_seconds: int) -> Mapping[int, Sequence[Event]]:
        """Window start → its events."""
        if length_seconds not in self._by_length:
            self._by_length[length_seconds] = self._parted(length_seconds)
        return self._by_length[length_seconds]

    def _parted(self, length: int) -> Mapping[int, Sequence[Event]]:
        only = window_start(self._first, length)
        if only == window_start(self._last, length):  # nearly always: windows are long, commits are short
            return {only: self._events}
        parts: dict[int, list[Event]] = {}
        for event in self._events:
            parts.setdefault(window_start(event.time_ms // 1000, length), []).append(event)
        return parts


def group_by_signal(events: Iterable[Event]) -> dict[str, SignalGroup]:
    """One commit's events, parted once for all metrics."""
    parts: dict[str, list[Event]] = {}
    for event in events:
        part = parts.get(event.signal)
        if part is None:
            part = parts[event.signal] = []
        part.append(event)
    return {signal: SignalGroup(part) for signal, part in parts.items()}


@dataclass(frozen=True, slots=True)
class Tally:
    """One metric, compiled: which events concern it, and how they go in and out of its state."""

    name: str
    version: str
    signal: str
    window_seconds: int
    _where: Predicate | None
    _reader: Reader
    _reduction: Reduction

    def concerned(self, group: SignalGroup) -> Iterator[tuple[int, Sequence[Event]]]:
        """(window start, its events that concern this metric) of a group of this metric's signal; none is empty."""
        for start, events in group.windows(self.window_seconds).items():
            chosen = self._chosen(events)
            if chosen:
                yield start, chosen

    def window_of(self, event: Event) -> int | None:
        """Start of the window that an event counts in; None where it does not concern this metric."""
        if event.signal != self.signal or not self._chosen([event]):
            return None
        return window_start(event.time_ms // 1000, self.window_seconds)

    def _chosen(self, events: Sequence[Event]) -> Sequence[Event]:
        """Those that have the field that is read, and meet the metric's `where`."""
        chosen = self._reader.readable(events)
        where = self._where
        return chosen if where is None else [event for event in chosen if where(event.fields)]

    def fold(self, state: Any, events: Sequence[Event]) -> Any:
        """State after more events, at least one, all concerned and of one window; `state` is None before the first."""
        return self._reduction.fold(state, events, self._reader.integers)

    def unfold(self, state: Any, event: Event) -> Any:
        """State without an event that was folded into it; NOT_UNDOABLE where only folding the rest anew can tell."""
        return self._reduction.unfold(state, event, self._reader.integers)

    def carry(self, state: Any, event: Event) -> Any:
        """A later window's state that makes up for an event of a released one; NOT_UNDOABLE where none can."""
        return self._reduction.carry(state, event, self._reader.integers)


def compile_tally(plan: MetricPlan, signal: Signal) -> Tally:
    """A metric of a checked policy, and the declaration of its signal, ready to run."""
    metric = plan.metric
    return Tally(
        name=plan.name,
        version=plan.version,
        signal=metric.from_,
        window_seconds=metric.window_seconds,
        _where=None if metric.where is None else compile_condition(metric.where),
        _reader=reader_of(plan, signal),
        _reduction=REDUCTIONS[metric.reduction],
    )


def conclude(plan: MetricPlan, state: Any) -> int:
    """The window's integer, not yet bounded. A device with nothing to say gives its zero, or `none`."""
    match plan.metric.type:
        case "category":
            return len(plan.mechanism.labels) - 1 if state is None else _as_index(plan, state)
        case "multi_select":
            return 0 if state is None else sum(1 << index for index in _most_frequent(state, plan.metric.at_most or 1))
        case "open":
            return cell_of("", plan.metric.salt) if state is None else _as_index(plan, state)
        case "histogram":
            return _bucket(plan, state)
    return 0 if state is None else _as_number(plan, state)


def _as_index(plan: MetricPlan, state: Any) -> int:
    return int(state[1]) if plan.metric.reduction == "last" else _most_frequent(state, 1)[0]


def _bucket(plan: MetricPlan, state: Any) -> int:
    """A silent device's sums and counts are 0; it has no mean, least, greatest or last value, and says `none`."""
    if state is None and plan.metric.reduction not in {"count", "sum", "active_days"}:
        return len(plan.mechanism.labels) - 1
    return bucket_of(0 if state is None else _as_number(plan, state), plan.edges)


def _as_number(plan: MetricPlan, state: Any) -> int:
    match plan.metric.reduction:
        case "active_days":
            return len(state)
        case "any":
            return 1
        case "mean":
            total, events = state
            return _round_half_up(total, events)
        case "last":
            return int(state[1])
    return int(state)


def _most_frequent(counts: Mapping[int, int], most: int) -> list[int]:
    """Ties go to the value declared first."""
    return sorted(counts, key=lambda index: (-counts[index], index))[:most]


def _round_half_up(total: int, events: int) -> int:
    return (2 * total + events) // (2 * events)
