"""An event comes in: admit → known id? → raw block → tallies → corrections; one commit for many events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.event import Event, EventRefusal, Refused
from discreet_agent.steps.admit import Admission
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Batch
    from discreet_agent.steps.correct import Correcting
    from discreet_agent.steps.deriving import Deriving
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.steps.watch import Watching
    from discreet_agent.store.store import Store

    Digests = dict[tuple[str, str], bytes]  # (sender, id) of new events → what the id is known by

_KNOWN = Refused(EventRefusal.DUPLICATE, "an event with this id came in before")
_RETRACTED = Refused(EventRefusal.RETRACTED, "the event with this id was retracted before it came")


class Recording:
    """Takes events under one policy after another. Refusals are counted in memory until something is stored."""

    def __init__(
        self,
        device: Device,
        store: Store,
        layer: RawLayer,
        deriving: Deriving,
        correcting: Correcting,
        watching: Watching,
    ) -> None:
        self._store = store
        self.admission = Admission(device, store, layer)
        self._layer = layer
        self._deriving = deriving
        self._correcting = correcting
        self._watching = watching
        self._may_be_retracted = False
        self._unwritten: dict[EventRefusal, int] = {}  # refusals counted since the last commit
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self.admission.adopt(device)

    def record(self, batches: Sequence[Batch]) -> list[Refused | None]:
        """See `Pipeline.record_group`."""
        refusal = self._device.why_off
        if refusal is not None:  # P6: not even the refusal is written down
            self.admission.drop_pending()
            return [Refused(EventRefusal.CONSENT_OFF, refusal) for batch in batches for _ in batch.items]
        outcomes, fresh = self._check(batches)
        taken = [item for item in outcomes if isinstance(item, Event)]
        if taken:
            try:
                self._store_all(outcomes, taken, fresh)
            except RetryableError:
                self.admission.not_stored(taken)
                self._layer.look_up_anew()  # the commit may have been kept all the same, and the sender sends again
                raise
        else:  # nothing to store: count in memory, so that a flood of bad input costs no disk writes
            self.count_refused(outcomes)
        return [item if isinstance(item, Refused) else None for item in outcomes]

    def count_refused(self, outcomes: Sequence[Event | Refused]) -> None:
        """Count refusals in memory, until something is stored."""
        for item in outcomes:
            if isinstance(item, Refused):
                self._unwritten[item.reason] = self._unwritten.get(item.reason, 0) + 1

    def write_refusals(self, *, at_once: bool = False) -> None:
        """Write down what was only counted, in a transaction of its own, if there is anything and not too often."""
        if (at_once or self.admission.may_write) and (self._unwritten or self.admission.has_news):
            with self._store.transaction():
                self._write_refusals()
                self.admission.write()
            self._unwritten.clear()
            self.admission.written()

    def _check(self, batches: Sequence[Batch]) -> tuple[list[Event | Refused], Digests]:
        """Each item's event or refusal, and the ids that nobody knew yet."""
        fresh: Digests = {}
        self._may_be_retracted = self._store.seen.any_retracted()
        outcomes: list[Event | Refused] = []
        for batch in batches:
            outcomes += [
                self._refuse_known(admitted, fresh) for admitted in self.admission.admit(batch, self._is_known)
            ]
        return outcomes, fresh

    def _is_known(self, event: Event) -> bool:
        return event.id is not None and self._layer.is_known(self._layer.digest(event.sender, event.id))

    def _refuse_known(self, event: Event | Refused, fresh: Digests) -> Event | Refused:
        if isinstance(event, Refused) or event.id is None:
            return event
        said = (event.sender, event.id)
        if said in fresh:
            return _KNOWN
        digest = self._layer.digest(*said)
        if self._layer.is_known(digest):
            return _KNOWN
        if self._may_be_retracted and self._store.seen.is_retracted(digest):
            return _RETRACTED
        fresh[said] = digest
        return event

    def _store_all(self, outcomes: list[Event | Refused], taken: Sequence[Event], fresh: Digests) -> None:
        events: Sequence[Event] = [event for event in taken if event.retracts is None]
        arrival = self._layer.arrival()
        if arrival.is_dated:
            events = self._deriving.marked(events)
        grouped = self._layer.bucketed(events, arrival)
        dropped = self.admission.take_dropped()
        self._deriving.prepare()
        with self._store.transaction():
            self._layer.append(grouped, arrival, fresh)
            if arrival.is_dated:
                self._deriving.take(events)
            if len(events) < len(taken):
                self._correct(outcomes, fresh)
            self._layer.save_clock()
            self._store.count("events_accepted", by=len(events))
            for signal, fields in dropped.items():
                self._store.count("fields_dropped", signal, fields)
            self.count_refused(outcomes)
            self._write_refusals()
        self._unwritten.clear()
        self._layer.learn(fresh.values())
        self.admission.stored(events)
        if arrival.is_dated:
            self._watching.take(events)

    def _correct(self, outcomes: list[Event | Refused], fresh: Digests) -> None:
        """Corrections after all events of the group: what they take back may have come with them."""
        places = [index for index, item in enumerate(outcomes) if isinstance(item, Event) and item.retracts is not None]
        corrections = [item for item in outcomes if isinstance(item, Event) and item.retracts is not None]

        def is_known(correction: Event, digest: bytes) -> bool:
            return (correction.sender, correction.retracts) in fresh or self._layer.is_known(digest)

        for index, refusal in zip(places, self._correcting.take(corrections, is_known), strict=True):
            if refusal is not None:
                outcomes[index] = refusal

    def _write_refusals(self) -> None:
        for reason, count in self._unwritten.items():
            self._store.count("events_refused", reason.value, by=count)
