"""What former hours of each signal were like: sums only, derived from raw events and forgotten like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from discreet_agent.hours import Hour
from discreet_contract.errors import CorruptStoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

_means = msgspec.msgpack.Decoder(dict[str, float])


class Baselines:
    """Rows of `baselines` and `baseline_runs`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, signal: str, hour: Hour) -> None:
        """Keep an hour."""
        self._connection.execute(
            "INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?)",
            (signal, hour.index, hour.count, msgspec.msgpack.encode(hour.means)),
        )

    def hours(self, signal: str, like: int) -> list[Hour]:
        """Kept hours of a signal at the same time of day as hour `like`, oldest first."""
        rows = self._connection.execute(
            "SELECT hour, count, means FROM baselines WHERE signal = ? AND hour % 24 = ? ORDER BY hour",
            (signal, like % 24),
        )
        try:
            return [Hour(index, count, _means.decode(means)) for index, count, means in rows]
        except msgspec.MsgspecError as exc:
            raise CorruptStoreError(f"an hour of {signal} cannot be read", hint="look at the disk") from exc

    def runs(self, signal: str) -> dict[str, int]:
        """Longest ended run of equal values, by field."""
        rows = self._connection.execute("SELECT field, longest FROM baseline_runs WHERE signal = ?", (signal,))
        return dict(rows.fetchall())

    def keep_runs(self, signal: str, longest: Mapping[str, int]) -> None:
        """Keep them."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO baseline_runs VALUES (?, ?, ?)",
            [(signal, field, length) for field, length in longest.items()],
        )

    def forget(self, before: int, signals: Collection[str]) -> int:
        """Forget hours before that one, and signals that nobody declares any more; returns how many hours went."""
        gone = self._connection.execute("DELETE FROM baselines WHERE hour < ?", (before,)).rowcount
        for table in ("baselines", "baseline_runs"):
            for [signal] in self._connection.execute(f"SELECT DISTINCT signal FROM {table}").fetchall():  # noqa: S608
                if signal not in signals:
                    gone += self._connection.execute(f"DELETE FROM {table} WHERE signal = ?", (signal,)).rowcount  # noqa: S608
        return int(gone)

    def purge(self, signal: str | None, before: int | None) -> None:
        """Forget hours of one signal or of all, before one hour or all."""
        self._connection.execute(
            "DELETE FROM baselines WHERE (?1 IS NULL OR signal = ?1) AND (?2 IS NULL OR hour < ?2)", (signal, before)
        )
        if before is None:
            self._connection.execute("DELETE FROM baseline_runs WHERE ?1 IS NULL OR signal = ?1", (signal,))
