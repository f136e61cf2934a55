"""Digests of event ids whose blocks are gone, and of events that were retracted.

Ids of events that are still kept lie beside their blocks (`RawLog.ids_since`): a table of single ids would cost
a page of flash for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.known_ids import MOST_IDS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

DIGEST_BYTES = 8
MOST_RETRACTED = 10_000


class Seen:
    """Rows of `seen_ids` and `retracted`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def keep(self, arrived: int, digests: bytes) -> None:
        """Go on knowing ids whose blocks go; the last of them came in that second of retention time."""
        self._connection.execute("INSERT INTO seen_ids (arrived, digests) VALUES (?, ?)", (arrived, digests))

    def kept(self) -> Iterator[tuple[int, bytes]]:
        """(latest second of arrival, digests), oldest first."""
        yield from self._connection.execute("SELECT arrived, digests FROM seen_ids ORDER BY arrived")

    def retract(self, digest: bytes, at: int) -> bool:
        """Remember that an event is not to count; False where that is known."""
        cursor = self._connection.execute("INSERT OR IGNORE INTO retracted VALUES (?, ?)", (digest, at))
        return cursor.rowcount == 1

    def is_retracted(self, digest: bytes) -> bool:
        """Whether this event was taken back, be it before it came."""
        row = self._connection.execute("SELECT 1 FROM retracted WHERE digest = ?", (digest,)).fetchone()
        return row is not None

    def any_retracted(self) -> bool:
        """Whether it is worth asking."""
        return self._connection.execute("SELECT 1 FROM retracted LIMIT 1").fetchone() is not None

    def forget(self, before: int) -> int:
        """Forget what came before that second, and the oldest beyond the bounds; returns how many retractions those."""
        self._connection.execute("DELETE FROM seen_ids WHERE arrived < ?", (before,))
        self._forget_beyond(MOST_IDS * DIGEST_BYTES)
        self._connection.execute("DELETE FROM retracted WHERE at < ?", (before,))
        cursor = self._connection.execute(
            "DELETE FROM retracted WHERE digest IN (SELECT digest FROM retracted ORDER BY at DESC LIMIT -1 OFFSET ?)",
            (MOST_RETRACTED,),
        )
        return cursor.rowcount

    def _forget_beyond(self, most_bytes: int) -> None:
        """More than memory holds would only fill the disk: a busy sender's ids outgrow the events themselves."""
        rows = self._connection.execute("SELECT id, length(digests) FROM seen_ids ORDER BY id DESC")
        for number, size in rows:
            most_bytes -= size
            if most_bytes < 0:
                rows.close()
                self._connection.execute("DELETE FROM seen_ids WHERE id <= ?", (number,))
                return

    def clear(self) -> None:
        """Forget all of them."""
        self._connection.execute("DELETE FROM seen_ids")
        self._connection.execute("DELETE FROM retracted")
