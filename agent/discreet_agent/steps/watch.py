"""The agent watches its sources: counts and means by the hour against former hours, and says what is unlike them.

What it gathers of the present hour is in memory; a kill loses that hour, which then says nothing. Each finding
becomes an event of the signal that the policy declares for it, so that an ordinary metric may count it privately.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from discreet_agent.anomaly import (
    ENOUGH_VALUES,
    LEAST_COVERAGE,
    WEEKS,
    Finding,
    Runs,
    comparable,
    judge,
    tempered,
)
from discreet_agent.event import EventLine
from discreet_agent.hours import HOUR_SECONDS, WEEK_HOURS, Hour
from discreet_contract.durations import seconds
from discreet_contract.policy.model import CategoryField, NumberField

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Event
    from discreet_agent.steps.device import Device
    from discreet_agent.store.store import Store
    from discreet_contract.condition import FieldValue

MOST_FINDINGS = 20  # kept for `status`
_TICK_MS = 5000  # a longer pause between two ticks counts as an absence


class Watching:
    """Watches the signals of one policy after another."""

    def __init__(self, device: Device, store: Store) -> None:
        self._store = store
        self.findings: deque[Finding] = deque(maxlen=MOST_FINDINGS)
        self._hour: int | None = None
        self._covered_ms = 0
        self._ticked_ms = device.clock.boot_ms()
        self._counts: dict[str, int] = {}
        self._sums: dict[tuple[str, str], tuple[float, int]] = {}
        self._runs: dict[str, Runs] = {}
        self._found: list[Finding] = []  # and not told yet
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        declared = device.rules.collector.anomalies
        self._into = None if declared is None else declared.signal
        self._numbers = {
            name: {field: kind for field, kind in signal.fields.items() if isinstance(kind, NumberField)}
            for name, signal in device.rules.signals.items()
            if name != self._into
        }
        self._runs = {name: runs for name, runs in self._runs.items() if name in self._numbers}

    def take(self, events: Sequence[Event]) -> None:
        """Events that were stored just now."""
        groups: dict[str, list[Event]] = {}
        for event in events:
            groups.setdefault(event.signal, []).append(event)
        for signal, group in groups.items():
            if signal not in self._numbers:
                continue
            self._counts[signal] = self._counts.get(signal, 0) + len(group)
            for field in self._numbers[signal]:
                values = [float(event.fields[field]) for event in group if field in event.fields]
                if values:
                    self._take_values(signal, field, values)

    def forget(self, signal: str | None) -> None:
        """Forget what is in memory of one signal or of all: the present hour says nothing then."""
        meant = [name for name in self._numbers if signal in {None, name}]
        for name in meant:
            self._runs.pop(name, None)
        self._found = [finding for finding in self._found if finding.signal not in meant]
        left = [finding for finding in self.findings if finding.signal not in meant]
        self.findings = deque(left, maxlen=MOST_FINDINGS)
        self._begin(self._hour)
        self._covered_ms = -HOUR_SECONDS * 1000

    def _take_values(self, signal: str, field: str, values: list[float]) -> None:
        total, number = self._sums.get((signal, field), (0.0, 0))
        self._sums[signal, field] = (total + sum(values), number + len(values))
        if signal not in self._runs:
            self._runs[signal] = Runs(self._store.baselines.runs(signal))
        stuck = self._runs[signal].take(signal, self._hour or 0, field, values)
        if stuck is not None:
            self._found.append(stuck)

    def tick(self, *, is_dated: bool) -> list[EventLine]:
        """Time passes: judge the hour that is over; returns events of what was found.

        `is_dated`: the wall clock may be believed. An hour in which it was doubtful, or moved, says nothing.
        """
        boot_ms = self._device.clock.boot_ms()
        passed_ms, self._ticked_ms = boot_ms - self._ticked_ms, boot_ms
        hour = self._device.clock.now_ms() // (HOUR_SECONDS * 1000)
        if not is_dated:
            self._begin(None)
            return []
        if hour != self._hour:
            if self._hour is not None and hour == self._hour + 1:
                self._found += self._close(self._hour)
            self._begin(hour)
        elif passed_ms <= _TICK_MS:
            self._covered_ms += passed_ms
        return [line for finding in self._take_found() if (line := self._line(finding)) is not None]

    def _take_found(self) -> list[Finding]:
        """Counted, and shown from now on; where that fails, they wait."""
        found = self._found
        if found:
            with self._store.transaction():
                for finding in found:
                    self._store.count("anomalies", finding.kind.value)
            self._found = []
            self.findings.extendleft(found)
        return found

    def _begin(self, hour: int | None) -> None:
        self._hour, self._covered_ms = hour, 0
        self._counts.clear()
        self._sums.clear()

    def _close(self, index: int) -> list[Finding]:
        if self._covered_ms < LEAST_COVERAGE * HOUR_SECONDS * 1000:
            return []
        found: list[Finding] = []
        with self._store.transaction():
            for signal, numbers in self._numbers.items():
                former = comparable(self._store.baselines.hours(signal, index), index)
                hour = Hour(index, self._counts.get(signal, 0), self._means(signal))
                floors = {field: max(kind.grid, (kind.max - kind.min) / 200) for field, kind in numbers.items()}
                unlike = judge(signal, hour, former, floors)
                self._store.baselines.add(signal, tempered(hour, former, unlike))
                if signal in self._runs:
                    self._store.baselines.keep_runs(signal, self._runs[signal].longest)
                found += unlike
            self._store.baselines.forget(index - self._kept_hours, self._numbers)
        return found

    @property
    def _kept_hours(self) -> int:
        """As long as the layer of derived data may be kept, eight weeks at the most."""
        most = self._device.rules.retention.enriched
        hours = WEEKS * WEEK_HOURS
        return hours if most is None else min(hours, seconds(most) // HOUR_SECONDS)

    def _means(self, signal: str) -> dict[str, float]:
        return {
            field: total / number
            for (name, field), (total, number) in self._sums.items()
            if name == signal and number >= ENOUGH_VALUES
        }

    def _line(self, finding: Finding) -> EventLine | None:
        """The event of a finding; fields that the signal does not declare, or whose values do not fit, are left out."""
        if self._into is None:
            return None
        signal = self._device.rules.signals[self._into]
        measure = "rate" if finding.measure == "rate" else "mean"
        said = {"signal": finding.signal, "kind": finding.kind.value, "measure": measure}
        fields: dict[str, FieldValue] = {
            name: value
            for name, value in said.items()
            if isinstance(kind := signal.fields.get(name), CategoryField) and value in kind.values
        }
        return EventLine(self._into, signal.version, self._device.clock.now_ms(), fields)
