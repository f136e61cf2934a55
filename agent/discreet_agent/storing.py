"""Events on their way into the pipeline, where the machine may have no room for them: refused, counted, and said so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from discreet_agent.event import EventRefusal, Refused
from discreet_agent.status import describe_trouble
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.device import OpenDevice
    from discreet_agent.disk import FreeDisk
    from discreet_agent.event import Batch
    from discreet_contract.policy.model import Policy

CANNOT_STORE = Refused(EventRefusal.STORE_UNAVAILABLE, "the device cannot store now; send again later")
NEARLY_FULL = Refused(
    EventRefusal.STORE_UNAVAILABLE, "the device's disk is nearly full (min_free_disk_bytes); send again later"
)

log = structlog.get_logger()


class Storing:
    """One device's way in, and whether it is open."""

    def __init__(self, device: OpenDevice, disk: FreeDisk) -> None:
        self._device = device
        self._disk = disk
        self._trouble: RetryableError | None = None  # why nothing could be stored lately

    def record(self, batches: Sequence[Batch], policy: Policy) -> Sequence[Refused | None]:
        """Each event's refusal, or None where it is on disk."""
        try:
            if self._disk.shortage() is not None and self._device.consent.refusal(policy) is None:
                return self._turn_away(batches, NEARLY_FULL)
            return self._device.pipeline.record_group(batches)
        except RetryableError as exc:
            self.note("nothing stored", exc)
            return self._turn_away(batches, CANNOT_STORE)

    def _turn_away(self, batches: Sequence[Batch], refusal: Refused) -> list[Refused | None]:
        refused = [refusal] * sum(len(batch.items) for batch in batches)
        self._device.pipeline.count_refused(refused)
        return [*refused]

    def note(self, what: str, exc: RetryableError) -> None:
        """Remember trouble; log it once, not at every attempt."""
        if self._trouble is None or str(self._trouble) != str(exc):
            log.warning(what, problem=str(exc), next_step=exc.hint)
        self._trouble = exc

    def recover(self) -> None:
        """After trouble: write down that there was some. If that works, it is over. Raises RetryableError."""
        if self._trouble is not None:
            with self._device.store.transaction():
                self._device.store.count("store_troubles")
            self._trouble = None
            log.info("the device can store again")

    @property
    def state(self) -> str:
        """The word ok, or why events cannot be stored now and what to do."""
        if self._trouble is not None:
            return describe_trouble(self._trouble)
        shortage = self._disk.shortage()
        return "ok" if shortage is None else f"refuses events: {shortage} (min_free_disk_bytes); free the disk"
