"""States of windows that are still open, and which window each metric closes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


class Tallies:
    """Rows of `tallies` and `schedule`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load(self, metric: str, version: str, window_start: int) -> Any:
        """A window's state, or None before its first event."""
        row = self._connection.execute(
            "SELECT state FROM tallies WHERE metric = ? AND version = ? AND window_start = ?",
            (metric, version, window_start),
        ).fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0])

    def save(self, metric: str, version: str, window_start: int, state: Any) -> None:
        """Replace a window's state."""
        self._connection.execute(
            "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?)",
            (metric, version, window_start, msgspec.msgpack.encode(state)),
        )

    def drop(self, metric: str, up_to: int) -> None:
        """Forget the states of a metric's windows that start at `up_to` or before, under every version."""
        self._connection.execute("DELETE FROM tallies WHERE metric = ? AND window_start <= ?", (metric, up_to))

    def keep_only(self, metrics: Iterable[str]) -> None:
        """Forget the states of metrics that have left the policy: they are raw, and nobody will close them."""
        kept = set(metrics)
        for [metric] in self._connection.execute("SELECT DISTINCT metric FROM tallies").fetchall():
            if metric not in kept:
                self._connection.execute("DELETE FROM tallies WHERE metric = ?", (metric,))

    def next_window(self, metric: str) -> int | None:
        """Start of the first window that was not closed yet, or None if the metric is new here."""
        row = self._connection.execute("SELECT next_window FROM schedule WHERE metric = ?", (metric,)).fetchone()
        return None if row is None else int(row[0])

    def first_window(self, metric: str) -> int:
        """Start of the first window this device reports; 0 if the metric is new here."""
        row = self._connection.execute("SELECT first_window FROM schedule WHERE metric = ?", (metric,)).fetchone()
        return 0 if row is None else int(row[0])

    def enrol(self, metric: str, first_window: int) -> None:
        """Begin (or begin anew, after a pause) with this window."""
        self._connection.execute(
            "INSERT OR REPLACE INTO schedule VALUES (?, ?, ?)", (metric, first_window, first_window)
        )

    def close_until(self, metric: str, next_window: int) -> None:
        """Every window before `next_window` has been dealt with."""
        self._connection.execute("UPDATE schedule SET next_window = ? WHERE metric = ?", (next_window, metric))
