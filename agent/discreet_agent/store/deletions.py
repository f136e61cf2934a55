"""Receipts of what was forgotten: which layer, of what, how much, why, under which key, when. Never what it said."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

MOST_RECEIPTS = 20_000


class Why(StrEnum):
    """Closed list of reasons for which data are forgotten."""

    EXPIRED = "EXPIRED"  # its retention is over
    POLICY = "POLICY"  # the policy no longer declares the signal
    PURGED = "PURGED"  # the owner said so
    DATABASE_FULL = "DATABASE_FULL"  # the cap on the database's size; oldest first
    KEY_LOST = "KEY_LOST"  # day.keys was lost or damaged: nobody can read it any more


@dataclass(frozen=True, slots=True)
class Deletion:
    """One receipt."""

    at_ms: int
    layer: str
    subject: str
    start: int | None
    length: int | None
    items: int
    why: str
    key_fingerprint: str | None = None


class Deletions:
    """Rows of `deletions`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, deletion: Deletion) -> None:
        """Write a receipt, in the transaction that deletes the last of it."""
        columns = ", ".join(Deletion.__slots__)
        values = tuple(getattr(deletion, name) for name in Deletion.__slots__)
        self._connection.execute(
            f"INSERT INTO deletions ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
            values,
        )
        self._connection.execute(
            "DELETE FROM deletions WHERE sequence <= (SELECT max(sequence) FROM deletions) - ?", (MOST_RECEIPTS,)
        )

    def add_up(self, deletion: Deletion) -> None:
        """The same for what goes bit by bit: one receipt for a subject, reason and day (UTC) of this device's clock."""
        day = deletion.at_ms - deletion.at_ms % 86_400_000
        row = self._connection.execute(
            "SELECT sequence, start, length, items FROM deletions WHERE layer = ? AND subject = ? AND why = ? "
            "AND at_ms >= ? AND at_ms < ? AND start IS NOT NULL ORDER BY sequence DESC LIMIT 1",
            (deletion.layer, deletion.subject, deletion.why, day, day + 86_400_000),
        ).fetchone()
        if row is None or deletion.start is None or deletion.length is None:
            self.add(deletion)
            return
        sequence, start, length, items = row
        first = min(start, deletion.start)
        last = max(start + length, deletion.start + deletion.length)
        self._connection.execute(
            "UPDATE deletions SET at_ms = ?, start = ?, length = ?, items = ? WHERE sequence = ?",
            (deletion.at_ms, first, last - first, items + deletion.items, sequence),
        )

    def until(self, layer: str, subject: str) -> int:
        """Second up to which some of it is gone, 0 where nothing is."""
        [until] = self._connection.execute(
            "SELECT coalesce(max(start + length), 0) FROM deletions WHERE layer = ? AND subject = ?", (layer, subject)
        ).fetchone()
        return int(until)

    def latest(self, most: int) -> list[Deletion]:
        """Receipts, newest first."""
        columns = ", ".join(Deletion.__slots__)
        rows = self._connection.execute(
            f"SELECT {columns} FROM deletions ORDER BY sequence DESC LIMIT ?",  # noqa: S608 - constants
            (most,),
        )
        return [Deletion(*row) for row in rows]
