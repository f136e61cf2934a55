"""SQLite: WAL, `synchronous=FULL`, so that what is committed survives a power cut."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from discreet_contract.errors import RetryableError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from discreet_aggregator.store.database import Row

_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}
_PRAGMAS = (
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    "pragma foreign_keys = on",
    "pragma trusted_schema = off",
    # Runs of ids are read and deleted whole: what they leave is used again, and the log stays near this size.
    "pragma journal_size_limit = 67108864",
)


class Sqlite:
    """A database file."""

    def __init__(self, path: Path, busy_seconds: float = 5.0) -> None:
        self._path = path
        self._busy_seconds = busy_seconds

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    def exists(self) -> bool:
        """Whether the file is there."""
        return self._path.exists()

    def connect(self, *, read_only: bool = False) -> SqliteConnection:
        """Open the file; a writer creates it and its folder."""
        with _translated(self.name):
            if read_only:
                opened = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
                return SqliteConnection(opened, self.name)
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # isolation_level None: transactions begin and end where the store says, not where sqlite3 guesses.
            opened = sqlite3.connect(self._path, isolation_level=None, timeout=self._busy_seconds)
            try:
                for pragma in _PRAGMAS:
                    opened.execute(pragma)
            except BaseException:
                opened.close()
                raise
            return SqliteConnection(opened, self.name)


class SqliteConnection:
    """See `database.Connection`."""

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement; the rows it gives."""
        with _translated(self._name):
            return self._connection.execute(statement, tuple(values)).fetchall()

    def execute_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row."""
        with _translated(self._name):
            self._connection.executemany(statement, rows)

    def begin(self) -> None:
        """SQLite lets in one writer at a time."""
        self.execute("begin immediate")

    def is_usable(self) -> bool:
        """A file does not go away; a transaction may be open."""
        return not self._connection.in_transaction

    def begin_reading(self) -> None:
        """WAL: readers see one state and disturb nobody."""
        self.execute("begin")

    def commit(self) -> None:
        """Written and synced."""
        self.execute("commit")

    def rollback(self) -> None:
        """Undo; nothing to do where SQLite has done so itself."""
        if self._connection.in_transaction:
            self.execute("rollback")

    def create(self, statement: str) -> None:
        """The schema is written in SQLite's own words."""
        self.execute(statement)

    def tables(self) -> set[str]:
        """Names of all tables."""
        return {name for (name,) in self.execute("select name from sqlite_schema where type = 'table'")}

    def size_bytes(self) -> int:
        """Pages of the file, without the log."""
        [[pages]], [[size]] = self.execute("pragma page_count"), self.execute("pragma page_size")
        return int(pages * size)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """The border where sqlite3's exceptions become ours. Their texts name tables and columns, never values."""
    try:
        yield
    except sqlite3.Error as exc:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in _PASSING:
            raise RetryableError(f"{name}: {exc}", hint="free disk space, or end what holds the lock") from exc
        raise StoreError(f"{name}: {exc}", hint="check the file's owner and the disk, or restore a backup") from exc
