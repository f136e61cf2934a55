"""What may be done between begin and commit.

A `Transaction` exists only inside `Store.transaction()`. The bounds of what is kept of
refused envelopes stand at the top of this file with their reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_aggregator.records import Watermark
from discreet_contract.wire import ENVELOPE_SIZES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from discreet_aggregator.records import Admitted, Block, Refused
    from discreet_aggregator.refusal import RefusalReason
    from discreet_aggregator.store.archive import Archive
    from discreet_aggregator.store.database import Connection
    from discreet_aggregator.store.seen import Seen
    from discreet_contract.wire import Verdict

QUARANTINE_ROWS = 1000  # newest kept: at most 4 MB, enough to see what a flood is made of
_QUARANTINE_BYTES = ENVELOPE_SIZES[-1]  # a longer one is no envelope; its beginning tells enough


class Transaction:
    """One batch's writes, and the reads that decide them."""

    def __init__(self, connection: Connection, seen: Seen, archive: Archive) -> None:
        self._connection = connection
        self._seen = seen
        self._archive = archive

    def watermark(self) -> Watermark:
        """As it is stored."""
        [[now_ms, forgotten]] = self._connection.execute("select now_ms, forgotten from watermark")
        return Watermark(int(now_ms), int(forgotten))

    def raise_watermark(self, now_ms: int) -> Watermark:
        """Lift the stored time to `now_ms` unless it is later already; returns what counts."""
        stored = self.watermark()
        if now_ms <= stored.now_ms:
            return stored
        self._connection.execute("update watermark set now_ms = ?", (now_ms,))
        return Watermark(now_ms, stored.forgotten_seconds)

    def set_watermark(self, now_ms: int, reason: str, at_ms: int) -> None:
        """An operator's word on what time it is, also backwards. What is forgotten stays too late."""
        before = self.watermark().now_ms
        self._connection.execute("update watermark set now_ms = ?", (now_ms,))
        what = f"watermark from {before} to {now_ms}"
        self._connection.execute(
            "insert into interventions (at_ms, what, reason) values (?, ?, ?)", (at_ms, what, reason)
        )

    def stored_verdicts(self, report_ids: Sequence[bytes]) -> dict[bytes, Verdict]:
        """First verdicts of those ids that have one."""
        return self._seen.find(report_ids)

    def archive(self, blocks: Sequence[Block], now_ms: int) -> None:
        """Append admitted reports and add them up."""
        self._archive.append(blocks, now_ms)

    def remember_verdicts(self, decisions: Iterable[Admitted | Refused], stored: Mapping[bytes, Verdict]) -> None:
        """Store the verdict of each id that has none in `stored`; the first one in the batch counts."""
        fresh: dict[bytes, int] = {}
        keep_until = 0
        for one in decisions:
            if one.report is None or one.verdict is None or one.report.report_id in stored:
                continue
            fresh.setdefault(one.report.report_id, int(one.verdict))
            keep_until = max(keep_until, one.keep_until)
        self._seen.add(fresh, keep_until)

    def count_refusals(self, day: str, counts: Mapping[tuple[str, RefusalReason], int]) -> None:
        """Add to the day's counts, by metric and reason: one row each a batch."""
        self._connection.execute_many(
            "insert into refusals (day, metric, reason, count) values (?, ?, ?, ?)"
            " on conflict (day, metric, reason) do update set count = refusals.count + excluded.count",
            ((day, metric, reason.value, count) for (metric, reason), count in sorted(counts.items())),
        )

    def quarantine(self, sample: Mapping[RefusalReason, bytes], now_ms: int) -> None:
        """Keep refused envelopes for an operator to look at; the oldest make room."""
        if not sample:
            return
        self._connection.execute_many(
            "insert into quarantine (received_at_ms, reason, envelope) values (?, ?, ?)",
            ((now_ms, reason.value, envelope[:_QUARANTINE_BYTES]) for reason, envelope in sample.items()),
        )
        self._connection.execute(
            "delete from quarantine where id <= (select max(id) from quarantine) - ?", (QUARANTINE_ROWS,)
        )

    def merge_seen(self) -> bool:
        """Merge runs of report ids where they are too many; False if they are not."""
        return self._seen.merge()

    def forget_seen(self, now_ms: int) -> bool:
        """Drop one run of ids whose reports would be too late; False if there is none."""
        forgotten = self._seen.forget(now_ms // 1000)
        if forgotten is None:
            return False
        self._connection.execute("update watermark set forgotten = ? where forgotten < ?", (forgotten, forgotten))
        return True
