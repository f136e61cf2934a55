"""Outbox → broker, receipts → settled. PUBACK proves nothing; only a receipt clears a row.

A report is sent, and sent again with the same bytes after a growing, jittered wait, until
its receipt comes. The waits stand in the outbox itself: a restart is no burst, and nothing grows in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.broker import backoff_seconds
from discreet_contract.wire import MalformedError, Receipt, decode_receipts, receipt_bucket

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from discreet_agent.store.outbox import OutboxRow

    class Link(Protocol):
        """What publishing needs of a connection."""

        def listen(self, bucket: str) -> None:
            """Make sure that receipts of this bucket arrive."""
            ...

        def publish(self, envelope: bytes, expires_in_seconds: int | None) -> bool:
            """Hand over one envelope, to be thrown away after so long; False where that is not possible now."""
            ...


LONGEST_WAIT_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Handed:
    """One report that was handed to the broker."""

    report_id: bytes
    at_ms: int
    again_at_ms: int  # where no receipt comes


@dataclass(frozen=True, slots=True)
class Courier:
    """Hands over what is due. `resend_seconds` is the first wait for a receipt."""

    resend_seconds: float

    def send(
        self, rows: Sequence[OutboxRow], link: Link, now_ms: int, expires_in_seconds: int | None = None
    ) -> list[Handed]:
        """Publish these rows; returns those that went out. Stops at the first that the link does not take."""
        handed: list[Handed] = []
        for row in rows:
            link.listen(receipt_bucket(row.report_id, row.receipt_buckets))
            if not link.publish(row.envelope, expires_in_seconds):
                break
            handed.append(Handed(row.report_id, now_ms, now_ms + round(self._wait(row.times_sent) * 1000)))
        return handed

    def _wait(self, times_before: int) -> float:
        longest = min(self.resend_seconds * 2 ** min(times_before, 12), LONGEST_WAIT_SECONDS)
        return float(longest / 2 + backoff_seconds(16, cap=longest / 2))


def read_receipts(message: bytes) -> tuple[Receipt, ...]:
    """A message from the receipts topic; anything that is not one is nobody's receipt."""
    try:
        return decode_receipts(message)
    except MalformedError:
        return ()
