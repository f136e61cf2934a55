"""Events into the open windows of the metrics they concern, and out of them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from discreet_agent.reductions import NOT_UNDOABLE
from discreet_agent.tally import compile_tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from discreet_agent.event import Event
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.store import Store
    from discreet_agent.store.tallies import Scheduled
    from discreet_agent.tally import SignalGroup, Tally


class Tallying:
    """Keeps the tallies of one device; every call belongs inside a transaction."""

    def __init__(self, device: Device, store: Store, layer: RawLayer) -> None:
        self._store = store
        self._layer = layer
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        signals = device.rules.signals
        self._clock = device.clock
        self._tallies = [compile_tally(plan, signals[plan.metric.from_]) for plan in device.policy.plans.values()]

    def marked(self, events: Sequence[Event]) -> Sequence[Event]:
        """The same events; those that come too late for a metric say so, so that taking them back takes nothing."""
        closed_until_ms = self._store.tallies.closed_until() * 1000
        if min((event.time_ms for event in events), default=closed_until_ms) >= closed_until_ms:
            return events  # nearly always
        late: dict[int, tuple[str, ...]] = {}
        for tally in self._tallies:
            scheduled = self._store.tallies.scheduled(tally.name)
            for index, event in enumerate(events):
                start = None if scheduled is None or event.id is None else tally.window_of(event)
                if start is not None and scheduled is not None and start < scheduled.next_window:
                    late[index] = (*late.get(index, ()), tally.name)
        return [
            msgspec.structs.replace(event, late=late[index]) if index in late else event
            for index, event in enumerate(events)
        ]

    def take(self, groups: Mapping[str, SignalGroup]) -> None:
        """Count events, by signal."""
        for tally in self._tallies:
            if tally.signal in groups:
                self._fold(tally, groups[tally.signal])

    def _fold(self, tally: Tally, group: SignalGroup) -> None:
        tallies = self._store.tallies
        scheduled = tallies.scheduled(tally.name)
        for start, events in tally.concerned(group):
            if scheduled is not None and start < scheduled.next_window:
                is_late = start >= scheduled.first_window
                self._store.count("events_late" if is_late else "events_before_enrolment", tally.name, by=len(events))
                continue
            state = tallies.load(tally.name, tally.version, start)
            tallies.save(tally.name, tally.version, start, tally.fold(state, events))

    def take_back(self, events: Sequence[Event]) -> None:
        """Undo events that were counted and are no longer in the raw log.

        What was released stays; where the metric is a count or a sum, the next window makes up for it.
        """
        for tally in self._tallies:
            by_window: dict[int, list[Event]] = {}
            for event in events:
                start = tally.window_of(event)
                if start is not None:
                    by_window.setdefault(start, []).append(event)
            scheduled = self._store.tallies.scheduled(tally.name) if by_window else None
            for start, some in by_window.items():
                if scheduled is None or start >= scheduled.next_window:
                    self._undo(tally, start, some)
                elif start >= scheduled.first_window and self._store.ledger.holds(tally.name, start):
                    # A summary was drawn, for there was budget and it was its turn; and these came in time for it.
                    self._carry(tally, scheduled, [event for event in some if tally.name not in event.late])

    def forget(self, signal: str | None, before_ms: int | None) -> None:
        """Drop what open windows counted of one signal or of all, up to a moment or all of it; the rest counts anew."""
        for tally in self._tallies:
            self._store.tallies.drop_former(tally.name, tally.version)
            if signal not in {None, tally.signal}:
                continue
            for start in self._store.tallies.windows(tally.name, tally.version):
                if before_ms is not None and start * 1000 >= before_ms:
                    continue
                state = None if before_ms is None else self._anew(tally, start, before_ms)
                if state is NOT_UNDOABLE:  # what cannot be told apart goes as well: it is the owner's word
                    state = None
                self._store.tallies.save(tally.name, tally.version, start, state)

    def _undo(self, tally: Tally, start: int, events: Sequence[Event]) -> None:
        tallies = self._store.tallies
        state = tallies.load(tally.name, tally.version, start)
        may_count_anew = self._is_kept_since(tally.signal, start)
        for event in events:
            without = tally.unfold(state, event)
            if without is NOT_UNDOABLE and may_count_anew:
                anew = self._anew(tally, start)  # from what is left, so without all of them
                may_count_anew = anew is not NOT_UNDOABLE
                if may_count_anew:
                    state = anew
                    break
            if without is NOT_UNDOABLE:
                self._store.count("corrections_not_applied", tally.name)
            else:
                state = without
        tallies.save(tally.name, tally.version, start, state)

    def _carry(self, tally: Tally, scheduled: Scheduled, events: Sequence[Event]) -> None:
        following = scheduled.next_window
        for event in events:
            state = tally.carry(self._store.tallies.load(tally.name, tally.version, following), event)
            if state is NOT_UNDOABLE:
                self._store.count("corrections_too_late", tally.name)
                continue
            self._store.tallies.save(tally.name, tally.version, following, state)
            self._store.count("corrections_carried", tally.name)

    def _is_kept_since(self, signal: str, start: int) -> bool:
        """Whether every event of this signal from that second on can still be read."""
        return self._store.deletions.until("raw", signal) <= self._layer.clock.of(start * 1000) // 1000

    def _anew(self, tally: Tally, start: int, since_ms: int = 0) -> object:
        """The state from what the raw log holds, of that moment and later; NOT_UNDOABLE where some is damaged."""
        state = None
        since = self._layer.clock.of(start * 1000) // 1000
        for block in self._store.raw.counted(tally.signal, since):
            events = self._store.raw.readable(block)
            if events is None:
                self._store.count("blocks_unreadable", tally.signal)
                return NOT_UNDOABLE
            for event in events:
                if event.time_ms >= since_ms and tally.window_of(event) == start:
                    state = tally.fold(state, [event])
        return state
