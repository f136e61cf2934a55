"""What was sent, byte for byte, after its receipt or after it was given up: kept for a time, sent again on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from discreet_agent.store.outbox import OutboxRow

if TYPE_CHECKING:
    import sqlite3


class ForgottenReports(NamedTuple):
    """What went of one metric: how many reports, of windows that start from `first` to `last`."""

    metric: str
    first: int
    last: int
    reports: int


_ROW = (
    "report_id, metric, window_start, mechanism, payload, says, receipt_key, envelope, created_at_ms, 0, "
    "receipt_buckets, times_sent, first_sent_ms, last_sent_ms"
)


class Sent:
    """Rows of `sent`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def forget(self, before_ms: int, most: int) -> list[ForgottenReports]:
        """Forget what was settled before a moment, at most so many reports; returns what went, by metric."""
        chosen = "SELECT report_id FROM sent WHERE settled_at_ms < ? ORDER BY settled_at_ms LIMIT ?"
        rows = self._connection.execute(
            "SELECT metric, min(window_start), max(window_start), count(*) FROM sent "  # noqa: S608 - constants
            f"WHERE report_id IN ({chosen}) GROUP BY metric",
            (before_ms, most),
        ).fetchall()
        self._connection.execute(f"DELETE FROM sent WHERE report_id IN ({chosen})", (before_ms, most))  # noqa: S608 - constants
        return [ForgottenReports(*row) for row in rows]

    def to_resend(
        self, metric: str, window_start: int, settled_until_ms: int, now_ms: int, most: int
    ) -> list[OutboxRow]:
        """Reports of a metric's windows from `window_start` that were settled up to a moment; at most so many.

        What was settled later than now was settled by a clock that has been set back: it is meant, too.
        What was moved here by a version that kept no receipt keys could never be settled again, and stays.
        """
        rows = self._connection.execute(
            f"SELECT {_ROW} FROM sent WHERE metric = ? AND window_start >= ? "  # noqa: S608 - constants
            "AND (settled_at_ms <= ? OR settled_at_ms > ?) AND receipt_key IS NOT NULL LIMIT ?",
            (metric, window_start, settled_until_ms, now_ms, most),
        )
        return [OutboxRow(*row) for row in rows]

    def metrics(self) -> list[str]:
        """Which metrics anything is kept of."""
        return [metric for [metric] in self._connection.execute("SELECT DISTINCT metric FROM sent ORDER BY metric")]

    def take_out(self, report_id: bytes) -> None:
        """It waits again."""
        self._connection.execute("DELETE FROM sent WHERE report_id = ?", (report_id,))
