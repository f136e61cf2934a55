"""Outbox → broker, receipts → settled. PUBACK proves nothing; only a receipt clears a row.

A report is sent, and sent again with the same bytes after a growing, jittered wait, until
its receipt comes. The waits live in memory: after a restart everything is due at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

        def publish(self, envelope: bytes) -> bool:
            """Hand over one envelope; False where that is not possible now."""
            ...


LONGEST_WAIT_SECONDS = 3600.0


@dataclass(slots=True)
class _Attempt:
    count: int = 0
    next_at_ms: int = 0  # boot time


@dataclass(slots=True)
class Courier:
    """Decides what goes out now. `resend_seconds` is the first wait for a receipt."""

    resend_seconds: float
    _attempts: dict[bytes, _Attempt] = field(default_factory=dict)

    def send(self, rows: Sequence[OutboxRow], link: Link, boot_ms: int) -> int:
        """Publish what is due among `rows`; returns how many went out. Stops at the first the link does not take."""
        sent = 0
        for row in rows:
            attempt = self._attempts.setdefault(row.report_id, _Attempt())
            if attempt.next_at_ms > boot_ms:
                continue
            link.listen(receipt_bucket(row.report_id, row.receipt_buckets))
            if not link.publish(row.envelope):
                break
            attempt.count += 1
            attempt.next_at_ms = boot_ms + round(self._wait(attempt.count) * 1000)
            sent += 1
        return sent

    def settled(self, receipts: Sequence[Receipt]) -> None:
        """Forget the waits of reports that were answered."""
        for receipt in receipts:
            self._attempts.pop(receipt.report_id, None)

    def _wait(self, attempts: int) -> float:
        longest = min(self.resend_seconds * 2 ** min(attempts - 1, 12), LONGEST_WAIT_SECONDS)
        return float(longest / 2 + backoff_seconds(16, cap=longest / 2))


def read_receipts(message: bytes) -> tuple[Receipt, ...]:
    """A message from the receipts topic; anything that is not one is nobody's receipt."""
    try:
        return decode_receipts(message)
    except MalformedError:
        return ()
