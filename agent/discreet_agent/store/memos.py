"""Permanent responses of memoised metrics: drawn once, kept as long as the metric is, repeated in every window."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


class Memos:
    """Rows of `memos`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, metric: str, version: str, draw: int) -> int | None:
        """The response of one draw; None where it was never drawn."""
        row = self._connection.execute(
            "SELECT response FROM memos WHERE metric = ? AND version = ? AND draw = ?", (metric, version, draw)
        ).fetchone()
        return None if row is None else int(row[0])

    def first_window(self, metric: str, version: str) -> int | None:
        """Start of the window for which a lifetime was charged; second. None before."""
        row = self._connection.execute(
            "SELECT min(window_start) FROM memos WHERE metric = ? AND version = ?", (metric, version)
        ).fetchone()
        return None if row[0] is None else int(row[0])

    def keep(self, metric: str, version: str, draw: int, window_start: int, response: int) -> None:
        """Keep a response, in the transaction that drew it. One draw is kept once."""
        self._connection.execute(
            "INSERT INTO memos VALUES (?, ?, ?, ?, ?)", (metric, version, draw, window_start, response)
        )
