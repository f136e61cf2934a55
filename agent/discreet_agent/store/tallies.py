"""States of windows that are still open, and which window each metric closes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_contract.errors import CorruptStoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One metric's place in time, and the definition and consent under which it got there."""

    version: str
    window_seconds: int
    since_ms: int  # when the consent was given; 0 where it stands by default
    first_window: int  # seconds
    next_window: int  # start of the first window that was not closed yet; seconds


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
        try:
            return None if row is None else msgspec.msgpack.decode(row[0])
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise CorruptStoreError(f"a tally of {metric} cannot be read", hint="look at the disk") from exc

    def save(self, metric: str, version: str, window_start: int, state: Any) -> None:
        """Replace a window's state; None is that of a window without events."""
        if state is None:
            self._connection.execute(
                "DELETE FROM tallies WHERE metric = ? AND version = ? AND window_start = ?",
                (metric, version, window_start),
            )
            return
        self._connection.execute(
            "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?)",
            (metric, version, window_start, msgspec.msgpack.encode(state)),
        )

    def windows(self, metric: str, version: str) -> list[int]:
        """Starts of the windows that have a state; seconds."""
        rows = self._connection.execute(
            "SELECT window_start FROM tallies WHERE metric = ? AND version = ?", (metric, version)
        )
        return [start for [start] in rows.fetchall()]

    def drop(self, metric: str, up_to: int) -> None:
        """Forget the states of a metric's windows that start at `up_to` or before, under every version."""
        self._connection.execute("DELETE FROM tallies WHERE metric = ? AND window_start <= ?", (metric, up_to))

    def drop_former(self, metric: str, version: str) -> None:
        """Forget what was counted under other definitions of a metric: nobody will close those windows."""
        self._connection.execute("DELETE FROM tallies WHERE metric = ? AND version <> ?", (metric, version))

    def keep_only(self, metrics: Iterable[str]) -> None:
        """Forget metrics that have left the policy: their states are raw, and nobody will close them."""
        kept = set(metrics)
        for table in ("tallies", "schedule"):
            for [metric] in self._connection.execute(f"SELECT DISTINCT metric FROM {table}").fetchall():  # noqa: S608
                if metric not in kept:
                    self._connection.execute(f"DELETE FROM {table} WHERE metric = ?", (metric,))  # noqa: S608

    def scheduled(self, metric: str) -> Scheduled | None:
        """How far this metric has come, or None if it is new here."""
        row = self._connection.execute(
            "SELECT version, window_seconds, since_ms, first_window, next_window FROM schedule WHERE metric = ?",
            (metric,),
        ).fetchone()
        return None if row is None else Scheduled(*row)

    def enrol(self, metric: str, scheduled: Scheduled) -> None:
        """Begin (or begin anew) with a window."""
        self._connection.execute(
            "INSERT OR REPLACE INTO schedule "
            "(metric, version, window_seconds, since_ms, first_window, next_window) VALUES (?, ?, ?, ?, ?, ?)",
            (
                metric,
                scheduled.version,
                scheduled.window_seconds,
                scheduled.since_ms,
                scheduled.first_window,
                scheduled.next_window,
            ),
        )

    def closed_until(self) -> int:
        """Second before which some metric's windows have been dealt with; 0 where none is scheduled."""
        [until] = self._connection.execute("SELECT coalesce(max(next_window), 0) FROM schedule").fetchone()
        return int(until)

    def close_until(self, metric: str, next_window: int) -> None:
        """Every window before `next_window` has been dealt with."""
        self._connection.execute("UPDATE schedule SET next_window = ? WHERE metric = ?", (next_window, metric))
