"""The clock was wrong and is right again: events that came in meanwhile get the times they should have had.

While the wall clock is known to be wrong, events are kept with that boot's counter and counted nowhere. In the
same boot the counter tells how long ago they came, and so by how much their times are off. What came in under an
earlier boot can no longer be dated; it stays readable until it is forgotten, and is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from discreet_agent.validate import FUTURE_SKEW_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_agent.event import Event
    from discreet_agent.steps.deriving import Deriving
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.raw import Block
    from discreet_agent.store.store import Store


class Dating:
    """Mends the times of undated blocks."""

    def __init__(self, device: Device, store: Store, layer: RawLayer, deriving: Deriving) -> None:
        self._store = store
        self._layer = layer
        self._deriving = deriving
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device

    def steps(self) -> Iterator[int]:
        """One pass, a block a step; yields how many events were dated."""
        if not self._layer.is_dated:
            return
        for block in list(self._store.raw.undated(self._layer.boot)):
            yield self._date(block)

    def _date(self, block: Block) -> int:
        arrival = self._layer.arrival()
        behind_ms = (arrival.wall_ms - arrival.boot_ms) - (block.wall_ms - block.boot_ms)
        retention = self._layer.retention.get(block.bucket.signal)
        events = [_moved(event, behind_ms) for event in self._store.raw.readable(block) or ()]
        if retention is not None:
            earliest = arrival.wall_ms - retention * 1000
            latest = arrival.wall_ms + FUTURE_SKEW_MS
            events = [event for event in events if earliest < event.time_ms <= latest]
        events = [*self._deriving.marked(events)]
        grouped = self._layer.bucketed(events, arrival) if retention is not None else {}
        self._deriving.prepare()
        with self._store.transaction():
            self._layer.keep_ids([self._store.raw.take_out(block)])
            self._layer.append(grouped, arrival)
            self._deriving.take(events)
            self._store.count("events_dated", by=len(events))
            self._store.count("events_never_dated", by=block.events - len(events))
        return len(events)


def _moved(event: Event, by_ms: int) -> Event:
    return msgspec.structs.replace(event, time_ms=event.time_ms + by_ms)
