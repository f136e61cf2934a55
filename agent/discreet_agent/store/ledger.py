"""The device's account of what it has given away: append-only, each row's digest covers the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.accounting import (
    CHAIN_START,
    EMPTY_LEDGER,
    BudgetRefusal,
    CapName,
    Debit,
    LedgerEntry,
    LedgerHead,
)
from discreet_contract.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_COLUMNS = "sequence, metric, window_start, window_seconds, nano, mechanism, policy_hash, charged_at_ms, previous"


class Ledger:
    """Rows of `ledger` and `budget_refusals`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def debits(self) -> list[Debit]:
        """Every charge, in order of booking."""
        rows = self._connection.execute("SELECT window_start, nano FROM ledger ORDER BY sequence")
        return [Debit(window_start, nano) for window_start, nano in rows]

    def charge(
        self, metric: str, debit: Debit, *, window_seconds: int, mechanism: str, policy_hash: bytes, at_ms: int
    ) -> None:
        """Append one charge. The table's own constraint refuses a second one for the same metric and window."""
        last = self._last()
        sequence, previous = (1, CHAIN_START) if last is None else (last.sequence + 1, last.digest())
        entry = LedgerEntry(
            sequence, metric, debit.window_start, window_seconds, debit.nano, mechanism, policy_hash, at_ms, previous
        )
        self._connection.execute(
            f"INSERT INTO ledger ({_COLUMNS}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant
            (*(getattr(entry, name) for name in entry.__struct_fields__), entry.digest()),
        )

    def holds(self, metric: str, window_start: int) -> bool:
        """Whether this window of this metric was charged already."""
        row = self._connection.execute(
            "SELECT 1 FROM ledger WHERE metric = ? AND window_start = ?", (metric, window_start)
        ).fetchone()
        return row is not None

    def refusal(self, metric: str, window_start: int) -> CapName | None:
        """Which cap refused this window of this metric, if one did."""
        query = "SELECT cap FROM budget_refusals WHERE metric = ? AND window_start = ?"
        row = self._connection.execute(query, (metric, window_start)).fetchone()
        return None if row is None else CapName(row[0])

    def take_back_refusals(self, metric: str, since: int) -> None:
        """Refusals of windows that are still open, and of which another policy may think otherwise."""
        self._connection.execute("DELETE FROM budget_refusals WHERE metric = ? AND window_start >= ?", (metric, since))

    def forget_refusals(self, metric: str, before: int) -> None:
        """Refusals of windows that nobody would take any more."""
        self._connection.execute("DELETE FROM budget_refusals WHERE metric = ? AND window_start < ?", (metric, before))

    def refuse(self, metric: str, window_start: int, refusal: BudgetRefusal) -> None:
        """Keep why a window was not reported (P9)."""
        self._connection.execute(
            "INSERT OR REPLACE INTO budget_refusals VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                metric,
                window_start,
                refusal.cap.value,
                refusal.asked,
                refusal.spent,
                refusal.left,
                refusal.resets_at,
            ),
        )

    def last_refusal(self) -> tuple[str, int, BudgetRefusal] | None:
        """(metric, window start, refusal) of the latest window that a cap refused."""
        row = self._connection.execute(
            "SELECT metric, window_start, cap, asked, spent, remaining, resets_at FROM budget_refusals "
            "ORDER BY window_start DESC, metric LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        metric, window_start, cap, asked, spent, left, resets_at = row
        return metric, window_start, BudgetRefusal(CapName(cap), asked, spent, left, resets_at)

    def entries(self) -> Iterator[LedgerEntry]:
        """Every row, in order."""
        for row in self._connection.execute(f"SELECT {_COLUMNS} FROM ledger ORDER BY sequence"):  # noqa: S608 - constant
            yield LedgerEntry(*row)

    def verify(self) -> int:
        """Walk the chain; returns the number of rows. Raises StoreError at the first row that does not fit."""
        earlier: LedgerEntry | None = None
        stored = self._connection.execute("SELECT digest FROM ledger ORDER BY sequence")
        for entry, [digest] in zip(self.entries(), stored, strict=True):
            if not entry.follows(earlier) or entry.digest() != digest:
                raise StoreError(
                    f"the ledger is broken at row {entry.sequence}",
                    hint="releases must stop; keep a copy of the database and report it",
                )
            earlier = entry
        return 0 if earlier is None else earlier.sequence

    def head(self) -> LedgerHead:
        """The last row; what is to be kept outside the database."""
        last = self._last()
        return EMPTY_LEDGER if last is None else LedgerHead(last.sequence, last.digest())

    def holds_head(self, head: LedgerHead) -> bool:
        """Whether a head that was kept outside is a row of this chain, not necessarily the last one."""
        if head.sequence == 0:
            return head == EMPTY_LEDGER
        row = self._connection.execute("SELECT digest FROM ledger WHERE sequence = ?", (head.sequence,)).fetchone()
        return row is not None and row[0] == head.digest

    def _last(self) -> LedgerEntry | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM ledger ORDER BY sequence DESC LIMIT 1"  # noqa: S608 - constant
        ).fetchone()
        return None if row is None else LedgerEntry(*row)
