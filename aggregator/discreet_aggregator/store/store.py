"""Lifecycle of the aggregator's database, and its only way to write: `transaction()`.

What a worker remembers between transactions (ids, cells) is true as long as all of them
succeed; after one that did not, it connects and reads again before it decides anything.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from discreet_aggregator.store.archive import Archive
from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.schema import migrate
from discreet_aggregator.store.seen import BOUNDS, Bounds, Seen
from discreet_aggregator.store.transaction import Transaction
from discreet_contract.errors import DiscreetError, RetryableError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from discreet_aggregator.store.database import Connection, Database


class Store:
    """One worker's access to the database at a path (SQLite) or `postgresql://` address. A context manager."""

    def __init__(self, where: str | Path | Database, *, busy_seconds: float = 5.0, bounds: Bounds = BOUNDS) -> None:
        self._bounds = bounds
        self._database = find_database(where, busy_seconds)
        self._is_open = False
        self._connection: Connection | None = None
        self._seen: Seen | None = None
        self._archive: Archive | None = None

    def __enter__(self) -> Self:
        self._is_open = True
        try:
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """Where the database is, for messages."""
        return self._database.name

    def close(self) -> None:
        """Close the connection; idempotent, and safe before it was opened."""
        self._is_open = False
        self._disconnect()

    def claim(self, fleet: str) -> None:
        """Say whose reports are kept here. Raises StoreError where they are another fleet's."""
        with self._writing() as connection:
            connection.execute(
                "insert into facts (name, value) values ('fleet', ?) on conflict (name) do nothing", (fleet,)
            )
            [[owner]] = connection.execute("select value from facts where name = 'fleet'")
        if owner != fleet:
            hint = "one database a fleet: set `database` or `state_dir` to another one"
            raise StoreError(f"{self.name} holds the reports of fleet {owner}", hint=hint)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing: commits at the end of the block, rolls back if anything is raised within it."""
        with self._writing() as connection:
            seen, archive = self._seen, self._archive
            assert seen is not None  # noqa: S101 - there is a connection
            assert archive is not None  # noqa: S101
            seen.sync()
            yield Transaction(connection, seen, archive)
        seen.committed()

    def is_merge_due(self) -> bool:
        """Whether `Transaction.merge_seen` has something to do."""
        return self._seen is not None and self._seen.is_merge_due()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if not self._is_open:
            raise StoreError(f"{self.name} is not open")
        connection = self._connection or self._connect()
        try:
            connection.begin()
        except RetryableError:
            if not connection.is_usable():  # another writer's turn lasts too long, or the server is away
                self._disconnect()
            raise
        try:
            yield connection
            connection.commit()
        except BaseException:
            # Memory holds what the database may not: begin anew from what is committed, on a fresh connection.
            self._disconnect()
            raise

    def _connect(self) -> Connection:
        connection = self._database.connect()
        try:
            migrate(connection)
            [[salt]] = connection.execute("select value from facts where name = 'salt'")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._seen = Seen(connection, bytes.fromhex(salt), self._bounds)
        self._archive = Archive(connection)
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._seen = self._archive = None
        if connection is None:
            return
        try:
            connection.rollback()
        except DiscreetError:  # lost: the server rolls back by itself
            pass
        finally:
            connection.close()
