"""What the store needs of a database: one connection, one writer at a time, statements with `?` for values.

The statements in `transaction.py`, `archive.py` and `seen.py` are written once; `sqlite.py` and
`postgres.py` are all that differs. Both translate their library's exceptions: RetryableError for
what may pass (locked, full, restarted), StoreError for what will not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Row = tuple[Any, ...]

POSTGRES_SCHEMES = ("postgresql://", "postgres://")


class Connection(Protocol):
    """An open connection in autocommit mode."""

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """Run one statement; the rows it gives, if any."""
        ...

    def execute_many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for each row of values."""
        ...

    def begin(self) -> None:
        """Begin a transaction as the only writer: waits for the other one, at last raises RetryableError."""
        ...

    def is_usable(self) -> bool:
        """Whether another transaction may begin here, as far as can be told."""
        ...

    def begin_reading(self) -> None:
        """Begin a transaction that sees one state of the database until it ends, and disturbs no writer."""
        ...

    def commit(self) -> None:
        """Make it durable. If this raises, whether it happened is not known."""
        ...

    def rollback(self) -> None:
        """Undo; does nothing outside of a transaction or on a lost connection."""
        ...

    def create(self, statement: str) -> None:
        """Run a statement of the schema, written with SQLite's types."""
        ...

    def tables(self) -> set[str]:
        """Names of all tables."""
        ...

    def size_bytes(self) -> int:
        """What the database takes on disk."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class Database(Protocol):
    """Where connections come from."""

    @property
    def name(self) -> str:
        """For messages; holds no credentials."""
        ...

    def exists(self) -> bool:
        """Whether there is something to read."""
        ...

    def connect(self, *, read_only: bool = False) -> Connection:
        """Open a connection. Raises RetryableError or StoreError."""
        ...


def find_database(where: str | Path | Database, busy_seconds: float = 5.0) -> Database:
    """The database at a path (SQLite) or a `postgresql://` address. A writer waits `busy_seconds` for another."""
    if not isinstance(where, str | Path):
        return where
    if isinstance(where, str) and where.startswith(POSTGRES_SCHEMES):
        from discreet_aggregator.store.postgres import Postgres

        return Postgres(where, busy_seconds)
    from discreet_aggregator.store.sqlite import Sqlite

    return Sqlite(Path(where), busy_seconds)
