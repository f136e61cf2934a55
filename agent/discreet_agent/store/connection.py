"""The border to SQLite: its exceptions are translated here, in reads and writes alike.

Three kinds: a database that is locked, full or unreadable just now may pass; one whose pages do not fit together is
corrupt and never gets better; all else is our own mistake or somebody else's file.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from discreet_contract.errors import CorruptStoreError, RetryableError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FAILURES = (
    sqlite3.Error,
    UnicodeDecodeError,
)  # the latter: text, also SQLite's own message, of a page that is nonsense
_HARMLESS = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}  # the connection is as good as before
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NEXT_STEP = {
    sqlite3.SQLITE_BUSY: "another process holds the database: end it",
    sqlite3.SQLITE_LOCKED: "another process holds the database: end it",
    sqlite3.SQLITE_FULL: "free the disk",
    sqlite3.SQLITE_IOERR: "look at the disk (kernel log), free it if it is full",
    sqlite3.SQLITE_READONLY: "make the file system and the file writable for this user",
    sqlite3.SQLITE_CANTOPEN: "make the folder writable for this user; allow more open files",
    sqlite3.SQLITE_NOMEM: "free memory",
    sqlite3.SQLITE_PROTOCOL: "another process holds the database: end it",
}


class Cursor(sqlite3.Cursor):
    """A cursor whose failures are ours."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """See `sqlite3.Cursor.execute`."""
        try:
            super().execute(sql, parameters)
        except FAILURES as exc:
            raise self.connection.translated(exc) from exc
        return self

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        """See `sqlite3.Cursor.executemany`."""
        try:
            super().executemany(sql, parameters)
        except FAILURES as exc:
            raise self.connection.translated(exc) from exc
        return self

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except FAILURES as exc:
            raise self.connection.translated(exc) from exc

    def fetchone(self) -> Any:
        """See `sqlite3.Cursor.fetchone`."""
        try:
            return super().fetchone()
        except FAILURES as exc:
            raise self.connection.translated(exc) from exc

    def fetchall(self) -> list[Any]:
        """See `sqlite3.Cursor.fetchall`."""
        try:
            return super().fetchall()
        except FAILURES as exc:
            raise self.connection.translated(exc) from exc


class Connection(sqlite3.Connection):
    """A connection that remembers whether the disk has failed it: it may have become read-only, or hold a dead file."""

    path: Path
    is_suspect = False

    def execute(self, sql: str, parameters: Any = (), /) -> Cursor:
        """See `sqlite3.Connection.execute`."""
        return self.cursor(Cursor).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        """See `sqlite3.Connection.executemany`."""
        return self.cursor(Cursor).executemany(sql, parameters)

    def translated(self, exc: Exception) -> RetryableError | StoreError:
        """What this failure means for the agent."""
        self.is_suspect = self.is_suspect or _code(exc) not in _HARMLESS
        return translated(exc, self.path)


def connect(path: Path) -> Connection:
    """Open or make the database; writes go through explicit transactions."""
    return _connected(path, path)


def connect_for_reading(path: Path) -> Connection:
    """Open the database beside whoever writes to it."""
    return _connected(path, f"{path.resolve().as_uri()}?mode=ro")


def _connected(path: Path, place: Path | str) -> Connection:
    try:
        connection = sqlite3.connect(place, isolation_level=None, factory=Connection, uri=isinstance(place, str))
    except sqlite3.Error as exc:
        raise translated(exc, path) from exc
    connection.path = path
    return connection


def translated(exc: Exception, path: Path) -> RetryableError | StoreError:
    """The exception to raise for one of SQLite's; its text names the file and what SQLite says, never a value."""
    code = _code(exc)
    if code in _NEXT_STEP:
        return RetryableError(f"{path}: {exc}", hint=f"{_NEXT_STEP[code]}; the agent tries again")
    if code in _CORRUPT or isinstance(exc, UnicodeDecodeError) or (code is None and "UTF-8" in str(exc)):
        hint = "the agent sets it aside and starts anew; look at the disk"
        return CorruptStoreError(f"{path}: the database is corrupt", hint=hint)
    return StoreError(f"{path}: {exc}", hint="check the file's owner and the disk; keep a copy before repairing")


def _code(exc: Exception) -> int | None:
    code = getattr(exc, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
