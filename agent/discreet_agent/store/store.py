"""Opening a device's database, its one transaction, counters and small facts.

Every write goes through `transaction()`. After a failed commit, and after any other trouble with the disk, the
connection is opened anew before anybody draws noise again: SQLite may have kept what it reported lost, or may have
opened a file for reading only.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import msgspec

from discreet_agent.store.baselines import Baselines
from discreet_agent.store.connection import connect, translated
from discreet_agent.store.deletions import Deletions
from discreet_agent.store.exposures import Exposures
from discreet_agent.store.features import Features, SourceSpans
from discreet_agent.store.keys import KEYS, KeyRing, handed_over
from discreet_agent.store.ledger import Ledger
from discreet_agent.store.memos import Memos
from discreet_agent.store.outbox import Outbox
from discreet_agent.store.personal import Personal
from discreet_agent.store.quarantine import QuarantineTable
from discreet_agent.store.raw import RawLog
from discreet_agent.store.reservations import Reservations
from discreet_agent.store.schema import MIGRATIONS
from discreet_agent.store.seen import Seen
from discreet_agent.store.sent import Sent
from discreet_agent.store.tallies import Tallies
from discreet_agent.store.trail import Trail
from discreet_contract.errors import CorruptStoreError, DiscreetError, RetryableError, StoreError
from discreet_contract.files import may_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from discreet_agent.store.connection import Connection

_PRAGMAS = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA busy_timeout = 2000",
)


class Store:
    """One device's database. A context manager; `close` may be called twice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Connection | None = None
        self._is_entered = False
        self.undone = 0  # transactions that failed: what was kept in memory of one is no longer true
        self.keys = KeyRing(path.with_name(KEYS), handed_over())

    def __enter__(self) -> Self:
        self.keys.open()
        self._open()
        self._is_entered = True
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_entered = False
        self.close()

    def close(self) -> None:
        """Close the database; SQLite folds the WAL back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @property
    def connection(self) -> Connection:
        """The open connection; opened again after trouble with the disk."""
        if self._connection is not None and self._connection.is_suspect and not self._connection.in_transaction:
            self.close()
        if self._connection is None:
            if not self._is_entered:
                raise StoreError(f"{self._path} is not open", hint="use `with Store(path)`")
            self._open()
        assert self._connection is not None  # noqa: S101 - `_open` sets it or raises
        return self._connection

    @property
    def raw(self) -> RawLog:
        """Raw blocks."""
        return RawLog(self.connection, self.keys)

    @property
    def seen(self) -> Seen:
        """Ids of events that came in lately, or were retracted."""
        return Seen(self.connection)

    @property
    def baselines(self) -> Baselines:
        """What former hours were like."""
        return Baselines(self.connection)

    @property
    def deletions(self) -> Deletions:
        """Receipts of what was forgotten."""
        return Deletions(self.connection)

    @property
    def features(self) -> Features:
        """States of features."""
        return Features(self.connection)

    @property
    def personal(self) -> Personal:
        """Segments, pins and the trail of both."""
        return Personal(self.connection)

    @property
    def exposures(self) -> Exposures:
        """Enrolments in experiments, and exposures."""
        return Exposures(self.connection)

    @property
    def source_spans(self) -> SourceSpans:
        """When signals would have been taken."""
        return SourceSpans(self.connection)

    @property
    def tallies(self) -> Tallies:
        """States of open windows, and the schedule of closing them."""
        return Tallies(self.connection)

    @property
    def ledger(self) -> Ledger:
        """Charges and refused charges."""
        return Ledger(self.connection)

    @property
    def reservations(self) -> Reservations:
        """What open windows will cost."""
        return Reservations(self.connection)

    @property
    def outbox(self) -> Outbox:
        """Envelopes that wait for their receipt."""
        return Outbox(self.connection)

    @property
    def sent(self) -> Sent:
        """Envelopes that have their receipt, or were given up."""
        return Sent(self.connection)

    @property
    def memos(self) -> Memos:
        """Permanent responses of memoised metrics."""
        return Memos(self.connection)

    @property
    def quarantine(self) -> QuarantineTable:
        """Shapes of refused input."""
        return QuarantineTable(self.connection)

    @property
    def trail(self) -> Trail:
        """Which policy was in force when."""
        return Trail(self.connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when it returns."""
        connection = self.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        except BaseException:
            self.undone += 1
            self._roll_back()
            raise
        try:
            connection.execute("COMMIT")
        except (sqlite3.Error, DiscreetError) as exc:
            self.undone += 1
            self._reopen()
            if isinstance(exc, DiscreetError):
                raise
            raise translated(exc, self._path) from exc

    def truncate_log(self) -> bool:
        """Fold the write-ahead log back and cut it, so that deleted rows do not live on in it.

        False where somebody reads the database just now: that is not waited for, since events come in meanwhile.
        """
        connection = self.connection
        [patience] = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            [is_busy, *_] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {patience}")
        return not is_busy

    def used_bytes(self) -> int:
        """What the database's content takes; freed pages do not count."""
        pages, free, size = (
            self.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def give_back(self, pages: int) -> bool:
        """Give freed pages back to the file system, so many at a time; whether there may be more.

        An eighth of the file is kept free: new events would have to take it from the file system again at once.
        """
        free, used = (
            self.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
        )
        if free < max(pages, used // 8):
            return False
        self.connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
        return True

    def count(self, name: str, reason: str = "", by: int = 1) -> None:
        """Add to a counter; within a transaction."""
        if by:
            self.connection.execute(
                "INSERT INTO counters VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                (name, reason, by),
            )

    def counters(self) -> dict[str, dict[str, int]]:
        """Every counter: name → reason (or "") → count."""
        counted: dict[str, dict[str, int]] = {}
        for name, reason, count in self.connection.execute("SELECT name, reason, count FROM counters ORDER BY 1, 2"):
            counted.setdefault(name, {})[reason] = count
        return counted

    def recall(self, name: str) -> Any:
        """A remembered fact, or None."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        try:
            return None if row is None else msgspec.msgpack.decode(row[0])
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise CorruptStoreError(f"{self._path}: the fact {name} cannot be read", hint="look at the disk") from exc

    def remember(self, name: str, value: Any) -> None:
        """Keep a fact; within a transaction."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, msgspec.msgpack.encode(value)))

    def forget_fact(self, name: str) -> None:
        """Drop a fact; within a transaction."""
        self.connection.execute("DELETE FROM meta WHERE name = ?", (name,))

    def _open(self) -> None:
        try:
            self._path.touch(mode=0o600)  # SQLite gives its companion files the same mode
        except OSError as exc:
            kind = RetryableError if may_pass(exc) else StoreError
            raise kind(
                f"cannot write {self._path}: {exc.strerror}", hint="check the disk and the folder's owner"
            ) from exc
        self._connection = connect(self._path)
        try:
            self._prepare(self._connection)
            self._migrate()
        except BaseException:
            self.close()
            raise

    def _prepare(self, connection: Connection) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        [mode] = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":  # SQLite says so in passing where it cannot change to it now
            hint = "look at the disk; the folder must be on a local file system"
            raise RetryableError(f"{self._path} has no write-ahead log", hint=hint)

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _roll_back(self) -> None:
        """Never fails: a connection that cannot roll back is given up, and SQLite rolls back at the next opening."""
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except (sqlite3.Error, DiscreetError):
                self.close()

    def _migrate(self) -> None:
        applied = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if applied == 0 and self.connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise StoreError(f"{self._path} is somebody else's database", hint="set another `state_dir`")
        if applied > len(MIGRATIONS):
            raise StoreError(f"{self._path} was written by a newer version", hint="upgrade the agent")
        for number, (_, script) in enumerate(MIGRATIONS[applied:], start=applied + 1):
            with self.transaction():
                for statement in _statements(script):
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version = {number}")


def _statements(script: str) -> list[str]:
    """Split a migration; `executescript` would commit in between."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if line.rstrip().endswith(";") and sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    return statements
