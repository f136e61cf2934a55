"""Shapes of refused input, counted: a small table from which the oldest go first."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from discreet_agent.event import Quarantined, Shape

if TYPE_CHECKING:
    import sqlite3

MAX_ROWS = 500
MAX_BYTES = 131_072  # of all texts together
_COLUMNS = ", ".join(Shape._fields)
# The newest rows that fit both bounds stay.
_SHRINK = """
    DELETE FROM quarantine WHERE digest IN (
        SELECT digest FROM (
            SELECT digest, row_number() OVER newest AS place, sum(bytes) OVER newest AS total FROM quarantine
            WINDOW newest AS (ORDER BY last_ms DESC, digest ROWS UNBOUNDED PRECEDING)
        ) WHERE place > ? OR total > ?
    )
"""


class QuarantineTable:
    """Rows of `quarantine`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def put(self, kept: Quarantined, expires_at: int) -> None:
        """Add to the shape's row; `expires_at` is a second of retention time, and stays that of its first refusal."""
        self._connection.execute(
            f"INSERT INTO quarantine (digest, {_COLUMNS}, count, first_ms, last_ms, bytes, expires_at)"  # noqa: S608
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET count = count + excluded.count, last_ms = max(last_ms, excluded.last_ms)",
            (
                hashlib.blake2b(msgspec.msgpack.encode(kept.shape), digest_size=16).digest(),
                *kept.shape,
                kept.count,
                kept.first_ms,
                kept.last_ms,
                sum(len(text.encode()) for text in kept.shape if isinstance(text, str)),
                expires_at,
            ),
        )

    def shrink(self) -> int:
        """Let the oldest rows beyond the bounds go; returns how many."""
        return self._connection.execute(_SHRINK, (MAX_ROWS, MAX_BYTES)).rowcount

    def rows(self) -> list[Quarantined]:
        """All of them, the latest refused first."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS}, count, first_ms, last_ms FROM quarantine ORDER BY last_ms DESC, digest"  # noqa: S608
        )
        width = len(Shape._fields)
        return [Quarantined(Shape(*row[:width]), *row[width:]) for row in found]

    def forget(self, now_seconds: int) -> None:
        """Delete what has expired."""
        self._connection.execute("DELETE FROM quarantine WHERE expires_at <= ?", (now_seconds,))

    def clear(self, signal: str | None = None, before_ms: int | None = None) -> None:
        """Delete all, or one signal's, or what was first refused before that moment."""
        self._connection.execute(
            "DELETE FROM quarantine WHERE (?1 IS NULL OR signal = ?1) AND (?2 IS NULL OR first_ms < ?2)",
            (signal, before_ms),
        )
