"""A corrupt database set aside: out of the way, so that the device goes on with a new one, and forgotten soon.

One copy is kept, for people who want to look, as long as the shortest retention of the policy, a day at most (P3).
Whoever opens the new database destroys the keys of the raw events in the copy. It is never read again: what the device
has given away is known from `ledger.head`, which the new, empty ledger does not hold, so releases stay stopped if
anything was ever charged (P2).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from discreet_contract.errors import RetryableError
from discreet_contract.files import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_SECONDS = 86_400
_COMPANIONS = ("", "-wal")  # the database goes first: SQLite deletes a log that it finds beside an empty database


def set_aside(database: Path, now_ms: int) -> None:
    """Move a closed database and its log away, over an earlier copy. Raises RetryableError."""
    try:
        forget_copy(database)
        for companion in _COMPANIONS:
            found = database.with_name(database.name + companion)
            if found.exists():
                os.utime(found, ns=(now_ms * 1_000_000,) * 2)
                found.rename(_copy(database, companion))
        database.with_name(f"{database.name}-shm").unlink(missing_ok=True)
        sync_directory(database.parent)
    except OSError as exc:
        message = f"{database} is corrupt and cannot be set aside: {exc.strerror}"
        raise RetryableError(message, hint="look at the disk; the agent tries again") from exc


def set_aside_at_ms(database: Path) -> int | None:
    """When the copy that is still kept was set aside; None where there is none."""
    try:
        return _copy(database, "").stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return None


def forget_copy(database: Path) -> None:
    """Delete the copy, if there is one: when a database is purged, and when its time is over."""
    for companion in _COMPANIONS:
        _copy(database, companion).unlink(missing_ok=True)


def forget_old_copy(database: Path, keep_seconds: int, now_ms: int) -> bool:
    """Delete the copy once it is older than `keep_seconds`, or from a future that the clock has left; says whether."""
    made_ms = set_aside_at_ms(database)
    if made_ms is None or 0 <= now_ms - made_ms < min(keep_seconds, LONGEST_SECONDS) * 1000:
        return False
    forget_copy(database)
    return True


def _copy(database: Path, companion: str) -> Path:
    return database.with_name(f"{database.name}.corrupt{companion}")
