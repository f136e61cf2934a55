"""Envelopes that wait for the aggregator's receipt: what is due, when each was sent, how much waits in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator

    from discreet_agent.publish import Handed


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
    not_before_ms: int  # this device's wall clock, as all times here
    receipt_buckets: int  # of the policy it was made under: the aggregator answers in one of so many
    times_sent: int = 0
    first_sent_ms: int | None = None
    last_sent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OutboxSize:
    """What waits."""

    reports: int
    bytes: int  # of envelopes


_COLUMNS = ", ".join(OutboxRow.__slots__)
_MOVED = (
    "report_id, metric, window_start, mechanism, payload, says, envelope, "
    "receipt_key, receipt_buckets, created_at_ms, times_sent, first_sent_ms, last_sent_ms"
)
_MOVE = f"INSERT OR REPLACE INTO sent ({_MOVED}, settled_at_ms, verdict) SELECT {_MOVED}, ?, ? FROM outbox"  # noqa: S608
_WITH_STATE = (
    "SELECT report_id, window_start, metric, not_before_ms, 'WAITING' AS state FROM outbox "
    "UNION ALL SELECT report_id, window_start, metric, NULL, 'GIVEN_UP' FROM sent"
)
_SHOWN = "report_id, metric, window_start, mechanism, says, envelope, times_sent, first_sent_ms, last_sent_ms"
_ALONE = {
    "WAITING": f"SELECT {_SHOWN}, not_before_ms, NULL AS settled_at_ms, NULL AS verdict FROM outbox",  # noqa: S608
    "GIVEN_UP": f"SELECT {_SHOWN}, NULL AS not_before_ms, settled_at_ms, verdict FROM sent",  # noqa: S608
}


class Outbox:
    """Rows of `outbox`, and their way to `sent`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, row: OutboxRow) -> None:
        """Queue a report; in the transaction that charged it, or with a row of `sent` that goes out again."""
        values = tuple(getattr(row, name) for name in row.__slots__)
        marks = ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO outbox ({_COLUMNS}) VALUES ({marks})", values)  # noqa: S608 - constants

    def due(self, now_ms: int, limit: int) -> list[OutboxRow]:
        """Reports whose wait is over, the longest due first: what was sent just now stands behind all others."""
        query = f"SELECT {_COLUMNS} FROM outbox WHERE not_before_ms <= ? ORDER BY not_before_ms, report_id LIMIT ?"  # noqa: S608 - constants
        return [OutboxRow(*row) for row in self._connection.execute(query, (now_ms, limit))]

    def beyond(self, moment_ms: int, limit: int) -> list[bytes]:
        """Ids of reports that wait for longer than until a moment."""
        query = "SELECT report_id FROM outbox WHERE not_before_ms > ? ORDER BY not_before_ms, report_id LIMIT ?"
        return [report_id for [report_id] in self._connection.execute(query, (moment_ms, limit))]

    def wait(self, until: Iterable[tuple[int, bytes]]) -> None:
        """Have reports wait until other moments (ms), each by its id."""
        self._connection.executemany("UPDATE outbox SET not_before_ms = ? WHERE report_id = ?", until)

    def note_sent(self, handed: Iterable[Handed]) -> None:
        """Write down what was handed to the broker, and when it is due again."""
        self._connection.executemany(
            "UPDATE outbox SET times_sent = times_sent + 1, first_sent_ms = coalesce(first_sent_ms, ?), "
            "last_sent_ms = ?, not_before_ms = ? WHERE report_id = ?",
            [(one.at_ms, one.at_ms, one.again_at_ms, one.report_id) for one in handed],
        )

    def find(self, report_id: bytes) -> OutboxRow | None:
        """A report that still waits, or None."""
        query = f"SELECT {_COLUMNS} FROM outbox WHERE report_id = ?"  # noqa: S608 - constants
        row = self._connection.execute(query, (report_id,)).fetchone()
        return None if row is None else OutboxRow(*row)

    def settle(self, row: OutboxRow, verdict: int, at_ms: int) -> None:
        """The aggregator has it durably: move the row to `sent`."""
        self._move([(row.report_id,)], at_ms, verdict)

    def give_up(self, metric: str, window_start: int, at_ms: int, most: int) -> int:
        """Stop sending reports of windows before `window_start`, at most so many; returns how many.

        They may have arrived, so they stay in `sent`.
        """
        where = "metric = ? AND window_start < ? LIMIT ?"
        return self._move(self._ids(where, (metric, window_start, most)), at_ms, None)

    def give_up_others(self, metrics: Collection[str], before_ms: int, at_ms: int, most: int) -> int:
        """The same for metrics that are no longer in the policy: reports made before `before_ms`."""
        named = {metric for [metric] in self._connection.execute("SELECT DISTINCT metric FROM outbox")}
        given_up = 0
        for metric in sorted(named - set(metrics)):
            where = "metric = ? AND created_at_ms < ? LIMIT ?"
            given_up += self._move(self._ids(where, (metric, before_ms, most - given_up)), at_ms, None)
        return given_up

    def size(self) -> OutboxSize:
        """What waits, kept up by triggers: asked before every charge."""
        return OutboxSize(*self._connection.execute("SELECT reports, bytes FROM outbox_size").fetchone())

    def waiting(self) -> int:
        """How many reports wait for a receipt."""
        return self.size().reports

    def history(self, limit: int = -1, offset: int = 0, report_id: bytes | None = None) -> Iterator[dict[str, Any]]:
        """Every report that may have left, newest window first; `verdict` is None without a receipt."""
        where, values = ("", ()) if report_id is None else ("WHERE report_id = ?", (report_id,))
        listed = f"SELECT report_id, state FROM ({_WITH_STATE}) {where} ORDER BY window_start DESC, metric, report_id"  # noqa: S608 - constants
        yield from self._each(f"{listed} LIMIT ? OFFSET ?", (*values, limit, offset))

    def preview(self, limit: int = -1, offset: int = 0, report_id: bytes | None = None) -> Iterator[dict[str, Any]]:
        """Every report that waits, in the order in which they go."""
        where, values = ("", ()) if report_id is None else ("WHERE report_id = ?", (report_id,))
        listed = f"SELECT report_id, 'WAITING' FROM outbox {where} ORDER BY not_before_ms, report_id"  # noqa: S608 - constants
        yield from self._each(f"{listed} LIMIT ? OFFSET ?", (*values, limit, offset))

    def _each(self, listed: str, values: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
        """Sorted by name and time alone, then read one by one: envelopes are never all in memory."""
        for report_id, state in self._connection.execute(listed, values).fetchall():
            cursor = self._connection.execute(f"{_ALONE[state]} WHERE report_id = ?", (report_id,))
            row = cursor.fetchone()
            if row is not None:  # a running agent settled it in between
                yield {"state": state} | dict(zip((column[0] for column in cursor.description), row, strict=True))

    def _ids(self, where: str, values: tuple[Any, ...]) -> list[tuple[bytes]]:
        return self._connection.execute(f"SELECT report_id FROM outbox WHERE {where}", values).fetchall()  # noqa: S608 - constants

    def _move(self, ids: list[tuple[bytes]], at_ms: int, verdict: int | None) -> int:
        self._connection.executemany(f"{_MOVE} WHERE report_id = ?", [(at_ms, verdict, one) for [one] in ids])
        self._connection.executemany("DELETE FROM outbox WHERE report_id = ?", ids)
        return len(ids)
