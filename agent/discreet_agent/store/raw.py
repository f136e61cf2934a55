"""The raw layer: a log of blocks, one for each retention and commit, and the ids seen lately.

A block is forgotten as a whole, one day at the most after the last of its events would be.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

import msgspec

from discreet_agent.event import Event
from discreet_contract.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

DAY_SECONDS = 86_400
_decoder = msgspec.msgpack.Decoder(list[Event])


class RawLog:
    """Blocks and event ids of one database; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def append(self, events: Sequence[Event], retention_seconds: Mapping[str, int]) -> None:
        """Store events as one block for each moment of forgetting; `retention_seconds` by signal."""
        by_expiry: dict[int, list[Event]] = {}
        for event in events:
            expiry = event.time_ms // 1000 + retention_seconds[event.signal]
            by_expiry.setdefault(expiry - expiry % DAY_SECONDS + DAY_SECONDS, []).append(event)
        for expires_at, group in by_expiry.items():
            body = zlib.compress(msgspec.msgpack.encode(group), 1)
            self._connection.execute(
                "INSERT INTO raw_blocks (expires_at, events, body) VALUES (?, ?, ?)", (expires_at, len(group), body)
            )

    def events(self) -> Iterator[Event]:
        """Every event still kept, in the order of arrival."""
        for [body] in self._connection.execute("SELECT body FROM raw_blocks ORDER BY id"):
            try:
                events = _decoder.decode(zlib.decompress(body))
            except (zlib.error, msgspec.MsgspecError) as exc:
                raise StoreError("a raw block cannot be read", hint="look at the disk") from exc
            yield from events

    def admit_id(self, event_id: str, expires_at: int) -> bool:
        """Remember a sender's event id; False where it was seen before."""
        digest = hashlib.blake2b(event_id.encode(), digest_size=16).digest()
        cursor = self._connection.execute("INSERT OR IGNORE INTO event_ids VALUES (?, ?)", (digest, expires_at))
        return cursor.rowcount == 1

    def forget(self, now_seconds: int) -> int:
        """Delete what has expired; returns how many events went."""
        [gone] = self._connection.execute(
            "SELECT coalesce(sum(events), 0) FROM raw_blocks WHERE expires_at <= ?", (now_seconds,)
        ).fetchone()
        self._connection.execute("DELETE FROM raw_blocks WHERE expires_at <= ?", (now_seconds,))
        self._connection.execute("DELETE FROM event_ids WHERE expires_at <= ?", (now_seconds,))
        return int(gone)

    def size(self) -> tuple[int, int]:
        """(blocks, events) kept."""
        blocks, events = self._connection.execute(
            "SELECT count(*), coalesce(sum(events), 0) FROM raw_blocks"
        ).fetchone()
        return int(blocks), int(events)
