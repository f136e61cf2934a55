"""What a sender sent → events that may be kept and refusals: first by the signal's schema, then by rate.

What is refused leaves its shape in the quarantine, and both leave a mark where the signal has a contract. All of
it is gathered in memory and written now and then, so that a flood of bad input does not cost a write each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_agent.contracts import Contracts
from discreet_agent.event import Event, EventLine, EventRefusal, Quarantined, Refused
from discreet_agent.quarantine import Quarantine, shape_of
from discreet_agent.rates import Rates
from discreet_agent.validate import Validator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_agent.event import Batch, Received
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.store import Store

WRITE_MS = 10_000  # shapes and counts wait at least so long for each other
CONTRACTS_MS = 600_000  # observations of contracts: lost at a power cut at the most
QUARANTINE_SECONDS = 7 * 86_400  # or the signal's retention, if that is shorter
_CONTRACTS = "contracts"  # the row that outlives a restart


class Admission:
    """Admits under one policy after another."""

    def __init__(self, device: Device, store: Store, layer: RawLayer) -> None:
        self._store = store
        self._layer = layer
        self._quarantine = Quarantine()
        self._contracts = Contracts(device.rules, device.clock.now_ms(), store.recall(_CONTRACTS))
        self._write_after_ms = 0
        self._keep_after_ms = device.clock.boot_ms() + CONTRACTS_MS
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy. Rate limits begin anew, contracts that stayed go on."""
        self._device = device
        self._signals = device.rules.signals
        self._validator = Validator(device.rules, device.silenced)
        self._rates = Rates(device.rules)
        self._contracts = Contracts(device.rules, device.clock.now_ms(), self._contracts.to_keep())

    def admit(self, batch: Batch, is_known: Callable[[Event], bool]) -> list[Event | Refused]:
        """One verdict for each item, in order. One that is known from before adds nothing, so its rate is not asked."""
        now_ms, check, sender = self._device.clock.now_ms(), self._validator.check, batch.sender
        verdicts = [item if isinstance(item, Refused) else check(item, now_ms, sender) for item in batch.items]
        if self._rates:
            boot_ms = self._device.clock.boot_ms()
            for index, event in enumerate(verdicts):
                if isinstance(event, Event) and not is_known(event):
                    verdicts[index] = self._rates.take(sender, event.signal, boot_ms) or event
        for item, verdict in zip(batch.items, verdicts, strict=True):
            if isinstance(verdict, Refused):
                self._note_refusal(item, verdict, sender, now_ms)
        return verdicts

    def stored(self, events: Sequence[Event]) -> None:
        """What was admitted is on disk: only now it counts as come."""
        if self._contracts:
            now_ms = self._device.clock.now_ms()
            for event in events:
                self._contracts.accept(event.signal, event.time_ms, now_ms)

    def not_stored(self, events: Sequence[Event]) -> None:
        """What was admitted could not be stored: its senders shall send it again, and may."""
        for event in events:
            self._rates.give_back(event.sender, event.signal)

    def _note_refusal(self, item: Received, refused: Refused, sender: str, now_ms: int) -> None:
        if (
            refused.reason is EventRefusal.SILENCED
        ):  # nothing is wrong with it, and the owner may not want even its shape
            return
        self._quarantine.add(shape_of(item, refused, sender, self._signals), now_ms)
        if self._contracts and isinstance(item, EventLine):
            self._contracts.refuse(item.signal, now_ms)

    def take_dropped(self) -> dict[str, int]:
        """See `Validator.take_dropped`."""
        return self._validator.take_dropped()

    # --- now and then ----------------------------------------------------------------------

    @property
    def may_write(self) -> bool:
        """Whether the last time is long enough ago."""
        return self._device.clock.boot_ms() >= self._write_after_ms

    @property
    def has_news(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._quarantine) or self._contracts_are_due

    @property
    def _contracts_are_due(self) -> bool:
        return self._contracts.is_news and self._device.clock.boot_ms() >= self._keep_after_ms

    def write(self) -> None:
        """Write down shapes and observations; within a transaction, after which `written` is told."""
        now_seconds = self._layer.clock.now_ms() // 1000
        table = self._store.quarantine
        for kept in self._quarantine.pending:
            retention = self._layer.retention.get(kept.shape.signal, QUARANTINE_SECONDS)
            table.put(kept, now_seconds + min(retention, QUARANTINE_SECONDS))
        self._store.count("quarantine_dropped", "OLDEST", table.shrink())
        self._store.count("quarantine_dropped", "TOO_MANY_SHAPES", self._quarantine.uncounted)
        if self._contracts_are_due:
            self._store.remember(_CONTRACTS, self._contracts.to_keep())

    def written(self) -> None:
        """It is on disk."""
        boot_ms = self._device.clock.boot_ms()
        self._quarantine.clear()
        self._write_after_ms = boot_ms + WRITE_MS
        if self._contracts_are_due:
            self._contracts.is_news = False
            self._keep_after_ms = boot_ms + CONTRACTS_MS

    def drop_pending(self) -> None:
        """The owner said off: what was refused before is not written down afterwards."""
        self._quarantine.clear()

    # --- for whoever asks ------------------------------------------------------------------

    def quarantined(self) -> list[Quarantined]:
        """Shapes on disk and in memory, the latest refused first. Writes nothing, however often it is asked."""
        found = {kept.shape: kept for kept in self._store.quarantine.rows()}
        for kept in self._quarantine.pending:
            old = found.get(kept.shape)
            if old is not None:
                kept = Quarantined(kept.shape, old.count + kept.count, old.first_ms, kept.last_ms)  # noqa: PLW2901
            found[kept.shape] = kept
        return sorted(found.values(), key=lambda kept: kept.last_ms, reverse=True)

    def clear_quarantine(self) -> int:
        """Forget all shapes; returns how many there were."""
        shapes = len(self.quarantined())
        self._quarantine.clear()
        if shapes:
            with self._store.transaction():
                self._store.quarantine.clear()
        return shapes

    def contracts(self) -> dict[str, dict[str, Any]]:
        """See `Contracts.describe`."""
        return self._contracts.describe(self._device.clock.now_ms())
