"""An event comes in: validate → known id? → raw block → tallies; one commit for many events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.event import Event, EventRefusal, Refused
from discreet_agent.tally import concerns, fold
from discreet_agent.validate import validate
from discreet_contract.clock import window_start
from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Batch
    from discreet_agent.steps.device import Device
    from discreet_agent.store.store import Store


class Recording:
    """Takes events under one policy after another. Refusals are counted in memory until something is stored."""

    def __init__(self, device: Device, store: Store) -> None:
        self._store = store
        self._unwritten: dict[EventRefusal, int] = {}  # refusals counted since the last commit
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self._signals = device.rules.signals
        self._plans = device.policy.plans
        self._retention = {name: seconds(signal.retention) for name, signal in self._signals.items()}

    def record(self, batches: Sequence[Batch]) -> list[Refused | None]:
        """See `Pipeline.record_group`."""
        refusal = self._device.why_off
        if refusal is not None:  # P6: not even the refusal is written down
            return [Refused(EventRefusal.CONSENT_OFF, refusal) for batch in batches for _ in batch.items]
        checked = self._check(batches)
        if not any(isinstance(item, Event) for item in checked):
            return self._all_refused(checked)
        with self._store.transaction():
            outcomes = [self._refuse_known_id(item) for item in checked]
            events = [item for item in outcomes if isinstance(item, Event)]
            self._store.raw.append(events, self._retention)
            self._tally(events)
            self._store.count("events_accepted", by=len(events))
            self.count_refused([item for item in outcomes if isinstance(item, Refused)])
            self._write_refusals()
        self._unwritten.clear()
        return [item if isinstance(item, Refused) else None for item in outcomes]

    def count_refused(self, refused: Sequence[Refused]) -> None:
        """In memory, until something is stored."""
        for item in refused:
            self._unwritten[item.reason] = self._unwritten.get(item.reason, 0) + 1

    def write_refusals(self) -> None:
        """Write down what was only counted, in a transaction of its own, if there is anything."""
        if self._unwritten:
            with self._store.transaction():
                self._write_refusals()
            self._unwritten.clear()

    def _check(self, batches: Sequence[Batch]) -> list[Event | Refused]:
        now_ms = self._device.clock.now_ms()
        return [
            item if isinstance(item, Refused) else validate(item, self._signals, now_ms)
            for batch in batches
            for item in batch.items
        ]

    def _refuse_known_id(self, item: Event | Refused) -> Event | Refused:
        if isinstance(item, Refused) or item.id is None:
            return item
        expires_at = item.time_ms // 1000 + self._retention[item.signal]
        if self._store.raw.admit_id(item.id, expires_at):
            return item
        return Refused(EventRefusal.DUPLICATE, "an event with this id is already stored")

    def _tally(self, events: Sequence[Event]) -> None:
        for plan in self._plans.values():
            signal = self._signals[plan.metric.from_]
            scheduled = self._store.tallies.scheduled(plan.name)
            states: dict[int, object] = {}
            for event in events:
                if not concerns(plan.metric, event):
                    continue
                start = window_start(event.time_ms // 1000, plan.metric.window_seconds)
                if scheduled is not None and start < scheduled.next_window:
                    is_late = start >= scheduled.first_window
                    self._store.count("events_late" if is_late else "events_before_enrolment", plan.name)
                    continue
                if start not in states:
                    states[start] = self._store.tallies.load(plan.name, plan.version, start)
                states[start] = fold(plan, signal, states[start], event)
            for start, state in states.items():
                self._store.tallies.save(plan.name, plan.version, start, state)

    def _all_refused(self, checked: Sequence[Event | Refused]) -> list[Refused | None]:
        """Nothing to store: count in memory, so that a flood of bad input costs no disk writes."""
        refused = [item for item in checked if isinstance(item, Refused)]
        self.count_refused(refused)
        return list(refused)

    def _write_refusals(self) -> None:
        for reason, count in self._unwritten.items():
            self._store.count("events_refused", reason.value, by=count)
