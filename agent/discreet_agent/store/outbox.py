"""Envelopes that wait for the aggregator's receipt, and those that got one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One paid-for report. Its bytes never change."""

    report_id: bytes
    metric: str
    window_start: int  # seconds
    mechanism: str
    payload: bytes
    says: str
    receipt_key: bytes
    envelope: bytes
    created_at_ms: int
    not_before_ms: int
    receipt_buckets: int  # of the policy it was made under: the aggregator answers in one of so many


_COLUMNS = ", ".join(OutboxRow.__slots__)
_MOVE = (
    "INSERT OR REPLACE INTO sent "
    "SELECT report_id, metric, window_start, mechanism, payload, says, envelope, ?, ? FROM outbox"
)


class Outbox:
    """Rows of `outbox` and `sent`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, row: OutboxRow) -> None:
        """Queue a report; in the transaction that charged it."""
        values = tuple(getattr(row, name) for name in row.__slots__)
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO outbox ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608 - constants

    def due(self, now_ms: int, limit: int) -> list[OutboxRow]:
        """Reports whose random delay is over, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM outbox WHERE not_before_ms <= ? "  # noqa: S608 - constants
            "ORDER BY created_at_ms, report_id LIMIT ?",
            (now_ms, limit),
        )
        return [OutboxRow(*row) for row in rows]

    def find(self, report_id: bytes) -> OutboxRow | None:
        """A report that still waits, or None."""
        query = f"SELECT {_COLUMNS} FROM outbox WHERE report_id = ?"  # noqa: S608 - constants
        row = self._connection.execute(query, (report_id,)).fetchone()
        return None if row is None else OutboxRow(*row)

    def settle(self, row: OutboxRow, verdict: int, at_ms: int) -> None:
        """The aggregator has it durably: move the row to `sent`."""
        self._connection.execute(f"{_MOVE} WHERE report_id = ?", (at_ms, verdict, row.report_id))
        self._connection.execute("DELETE FROM outbox WHERE report_id = ?", (row.report_id,))

    def give_up(self, metric: str, window_start: int, at_ms: int) -> int:
        """Stop sending reports of windows before `window_start`; they may have arrived, so they stay in `sent`."""
        self._connection.execute(f"{_MOVE} WHERE metric = ? AND window_start < ?", (at_ms, None, metric, window_start))
        cursor = self._connection.execute(
            "DELETE FROM outbox WHERE metric = ? AND window_start < ?", (metric, window_start)
        )
        return cursor.rowcount

    def give_up_others(self, metrics: Collection[str], before_ms: int, at_ms: int) -> int:
        """The same for metrics that are no longer in the policy: reports made before `before_ms`."""
        named = {metric for [metric] in self._connection.execute("SELECT DISTINCT metric FROM outbox")}
        given_up = 0
        for metric in named - set(metrics):
            where = "WHERE metric = ? AND created_at_ms < ?"
            self._connection.execute(f"{_MOVE} {where}", (at_ms, None, metric, before_ms))
            given_up += self._connection.execute(f"DELETE FROM outbox {where}", (metric, before_ms)).rowcount  # noqa: S608 - constants
        return given_up

    def forget_sent(self, before_ms: int) -> None:
        """Forget settled reports older than the horizon."""
        self._connection.execute("DELETE FROM sent WHERE settled_at_ms < ?", (before_ms,))

    def waiting(self) -> int:
        """How many reports wait for a receipt."""
        return int(self._connection.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def history(self) -> Iterator[dict[str, Any]]:
        """Every report that may have left, newest window first; `verdict` is None without a receipt."""
        columns = "report_id, metric, window_start, mechanism, says, envelope"
        cursor = self._connection.execute(
            f"SELECT {columns}, 'WAITING' AS state, NULL AS verdict FROM outbox "  # noqa: S608 - constants
            f"UNION ALL SELECT {columns}, 'GIVEN_UP', verdict FROM sent ORDER BY window_start DESC, metric"
        )
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))
