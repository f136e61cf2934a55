"""Lifecycle of the aggregator's database, and its only way to write: `transaction()`.

WAL, `synchronous=FULL`: what is committed survives a power cut. sqlite3's exceptions end
here: locked or full is retryable, everything else is a StoreError.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from discreet_aggregator.store.schema import migrate
from discreet_aggregator.store.transaction import Transaction
from discreet_contract.errors import RetryableError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}
_PRAGMAS = (
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    "pragma foreign_keys = on",
    "pragma trusted_schema = off",
)


class Store:
    """The one writer of a database file. A context manager; `close` may be called any number of times."""

    def __init__(self, path: Path, *, busy_seconds: float = 5.0) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with translated(self._path):
                # isolation_level None: transactions begin and end where this file says, not where sqlite3 guesses.
                self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=self._busy_seconds)
                for pragma in _PRAGMAS:
                    self._connection.execute(pragma)
                migrate(self._connection)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; idempotent, and safe before it was opened."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing: commits at the end of the block, rolls back if anything is raised within it."""
        connection = self._connection
        if connection is None:
            raise StoreError(f"{self._path} is not open")
        with translated(self._path):
            connection.execute("begin immediate")
            try:
                yield Transaction(connection)
                connection.execute("commit")
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The border where sqlite3's exceptions become ours. Their texts name tables and columns, never values."""
    try:
        yield
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in _PASSING:
            raise RetryableError(f"{path}: {exc}", hint="free disk space, or end what holds the lock") from exc
        raise StoreError(f"{path}: {exc}", hint="check the file's owner and the disk, or restore a backup") from exc
