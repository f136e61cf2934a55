"""What is set aside for windows that have begun: which metric gets the last of the budget is settled at their start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.accounting import Debit

if TYPE_CHECKING:
    import sqlite3


class Reservations:
    """Rows of `reservations`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def debits(self) -> list[Debit]:
        """What the open windows will cost, as charges."""
        rows = self._connection.execute("SELECT window_start, nano FROM reservations ORDER BY window_start, metric")
        return [Debit(window_start, nano) for window_start, nano in rows]

    def add(self, metric: str, debit: Debit) -> None:
        """Set a charge aside."""
        self._connection.execute("INSERT INTO reservations VALUES (?, ?, ?)", (metric, debit.window_start, debit.nano))

    def holds(self, metric: str, window_start: int) -> bool:
        """Whether this window of this metric has its charge set aside."""
        query = "SELECT 1 FROM reservations WHERE metric = ? AND window_start = ?"
        return self._connection.execute(query, (metric, window_start)).fetchone() is not None

    def sum_of(self, metric: str) -> int:
        """Nano-ε set aside for one metric."""
        row = self._connection.execute("SELECT sum(nano) FROM reservations WHERE metric = ?", (metric,)).fetchone()
        return int(row[0] or 0)

    def free(self, metric: str, before: int) -> None:
        """Give back what was set aside for windows before a second: charged, expired, or not asked for any more."""
        self._connection.execute("DELETE FROM reservations WHERE metric = ? AND window_start < ?", (metric, before))

    def free_all(self, metric: str) -> None:
        """Give back everything of one metric, which begins anew."""
        self._connection.execute("DELETE FROM reservations WHERE metric = ?", (metric,))

    def clear(self) -> None:
        """Give back everything: another policy sets aside anew."""
        self._connection.execute("DELETE FROM reservations")
