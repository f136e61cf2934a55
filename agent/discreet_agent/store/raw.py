"""The raw layer: a log of sealed blocks in buckets, each bucket under a key of its own.

A bucket holds one signal's events of one stretch of retention time, an eighth of the retention
at the most, and is forgotten as a whole when the first of its events has to be: nothing outlives its
retention, and nothing goes before seven eighths of it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from discreet_agent.event import Event
from discreet_agent.store.keys import Bucket, DamagedBlockError, KeyRing, seal, unseal
from discreet_contract.durations import grain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_decoder = msgspec.msgpack.Decoder(list[Event])


class Gone(NamedTuple):
    """What is left to know of a block that was deleted."""

    arrived: int  # second of retention time
    ids: bytes
    undated: int  # events that never got a date


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a group of events came in, by every clock there is."""

    boot: int  # names the boot
    boot_ms: int
    wall_ms: int
    retention_ms: int
    is_dated: bool = True  # False: the wall clock is known to be wrong

    @property
    def shift_ms(self) -> int:
        """Retention time less wall time: an event's age counts, whatever the wall clock says."""
        return self.retention_ms - self.wall_ms


class KeptBucket(NamedTuple):
    """One row of the directory."""

    id: int
    bucket: Bucket
    kept_seconds: int
    events: int
    blocks: int
    bytes: int
    doomed: str | None
    key_fingerprint: str | None


_BLOCKS = (
    "SELECT raw_blocks.id, signal, start, length, serial, raw_blocks.events, length(body), "
    "boot, boot_ms, wall_ms, undated "
    "FROM raw_blocks JOIN raw_buckets ON raw_buckets.id = bucket"
)

_IDS_OF_SIGNAL = (
    "SELECT raw_blocks.id, ids FROM raw_blocks JOIN raw_buckets ON raw_buckets.id = bucket WHERE signal = ?"
)
_FEW_DIGESTS = 8  # are looked for one by one; of more, all ids are read once


class Block(NamedTuple):
    """One sealed block, without its body."""

    id: int
    bucket: Bucket
    events: int
    bytes: int
    boot: int
    boot_ms: int
    wall_ms: int
    undated: bool


class RawLog:
    """Blocks of one database; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection, keys: KeyRing) -> None:
        self._connection = connection
        self._keys = keys

    def append(
        self, bucket: Bucket, kept_seconds: int, arrival: Arrival, events: Sequence[Event], ids: Iterable[bytes]
    ) -> None:
        """Store events as one block; the bucket's key must be on disk."""
        body = self._sealed(bucket, events)
        row = self._open_bucket(bucket, kept_seconds, len(events), len(body))
        self._connection.execute(
            "INSERT INTO raw_blocks (bucket, events, undated, boot, boot_ms, wall_ms, arrived, ids, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row,
                len(events),
                not arrival.is_dated,
                arrival.boot,
                arrival.boot_ms,
                arrival.wall_ms,
                arrival.retention_ms // 1000,
                b"".join(ids),
                body,
            ),
        )

    def _open_bucket(self, bucket: Bucket, kept_seconds: int, events: int, size: int) -> int:
        [row] = self._connection.execute(
            "INSERT INTO raw_buckets (signal, start, length, serial, kept_seconds, events, blocks, bytes) "
            "VALUES (?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT (signal, start, length, serial) DO UPDATE SET "
            "events = events + excluded.events, blocks = blocks + 1, bytes = bytes + excluded.bytes, "
            "kept_seconds = min(kept_seconds, excluded.kept_seconds) RETURNING id",
            (*bucket, kept_seconds, events, size),
        ).fetchone()
        return int(row)

    def _sealed(self, bucket: Bucket, events: Sequence[Event]) -> bytes:
        key = self._keys.find(bucket)
        assert key is not None  # noqa: S101 - `KeyRing.ensure` comes first
        return seal(key, bucket, zlib.compress(msgspec.msgpack.encode(events), 1))

    # --- reading ---------------------------------------------------------------------------

    def events(self, signal: str | None = None, since: int = 0) -> Iterator[Event]:
        """Every event still kept, in the order of arrival; `since`: only buckets that reach beyond that second."""
        where = "(? IS NULL OR signal = ?) AND start + length > ?"
        for block in self._blocks(where, (signal, signal, since)):
            yield from self.open(block)

    def every(self) -> Iterator[Block]:
        """Every block still kept, in the order of arrival."""
        return self._blocks("true", ())

    def counted(self, signal: str, since: int = 0) -> Iterator[Block]:
        """Blocks of a signal, but those that came in under a clock known to be wrong: nothing counts their events."""
        return self._blocks("signal = ? AND start + length > ? AND NOT undated", (signal, since))

    def open(self, block: Block) -> list[Event]:
        """A block's events; none where its key is gone. Raises DamagedBlockError."""
        key = self._keys.find(block.bucket)
        if key is None:
            return []
        [body] = self._connection.execute("SELECT body FROM raw_blocks WHERE id = ?", (block.id,)).fetchone()
        return _decoder.decode(zlib.decompress(unseal(key, block.bucket, body)))

    def readable(self, block: Block) -> list[Event] | None:
        """The same; None where it is damaged. One bad cell of flash must not stop what else there is to do."""
        try:
            return self.open(block)
        except DamagedBlockError:
            return None

    def holding(self, digests: Sequence[bytes], signal: str) -> dict[int, list[bytes]]:
        """Which of these ids each block of a signal holds (or, rarely, bytes that look like one), by the block's id."""
        found: dict[int, list[bytes]] = {}
        if len(digests) <= _FEW_DIGESTS:
            query = f"{_IDS_OF_SIGNAL} AND instr(ids, ?) ORDER BY raw_blocks.id"
            for digest in digests:
                for block_id, _ in self._connection.execute(query, (signal, digest)):
                    found.setdefault(block_id, []).append(digest)
            return found
        wanted = frozenset(digests)
        for block_id, ids in self._connection.execute(f"{_IDS_OF_SIGNAL} ORDER BY raw_blocks.id", (signal,)):
            some = wanted.intersection(ids[at : at + 8] for at in range(0, len(ids), 8))
            if some:
                found[block_id] = list(some)
        return found

    def block(self, block_id: int) -> Block:
        """One that is there."""
        return next(self._blocks("raw_blocks.id = ?", (block_id,)))

    def undated(self, boot: int) -> Iterator[Block]:
        """Blocks that came in under one boot while the clock was known to be wrong."""
        return self._blocks("undated = 1 AND boot = ?", (boot,))

    def small(self, bucket_id: int, below_bytes: int, before: int) -> Iterator[Block]:
        """Dated blocks of one bucket with smaller bodies, that came in before a second, oldest first."""
        where = "bucket = ? AND length(body) < ? AND arrived < ? AND NOT undated"
        return self._blocks(where, (bucket_id, below_bytes, before))

    def dated(self, bucket_id: int) -> Iterator[Block]:
        """Dated blocks of one bucket, oldest first."""
        return self._blocks("bucket = ? AND NOT undated", (bucket_id,))

    def _blocks(self, where: str, values: tuple[object, ...]) -> Iterator[Block]:
        query = f"{_BLOCKS} WHERE {where} ORDER BY raw_blocks.id"
        for row in self._connection.execute(query, values).fetchall():
            yield Block(row[0], Bucket(*row[1:5]), *row[5:])

    def ids_since(self, arrived: int) -> Iterator[tuple[int, bytes]]:
        """(second of arrival, digests) of blocks that came in later than that, newest first."""
        rows = self._connection.execute("SELECT arrived, ids FROM raw_blocks ORDER BY id DESC")
        for second, digests in rows:
            if second < arrived:
                return
            yield second, digests

    def buckets(self) -> list[KeptBucket]:
        """The directory, oldest bucket first."""
        rows = self._connection.execute(
            "SELECT id, signal, start, length, serial, kept_seconds, events, blocks, bytes, doomed, key_fingerprint "
            "FROM raw_buckets ORDER BY start, signal"
        )
        return [KeptBucket(row[0], Bucket(*row[1:5]), *row[5:]) for row in rows.fetchall()]

    def size(self) -> tuple[int, int]:
        """(blocks, events) kept and not being forgotten."""
        blocks, events = self._connection.execute(
            "SELECT coalesce(sum(blocks), 0), coalesce(sum(events), 0) FROM raw_buckets WHERE doomed IS NULL"
        ).fetchone()
        return int(blocks), int(events)

    # --- changing --------------------------------------------------------------------------

    def replace(self, blocks: Sequence[Block], events: Sequence[Event]) -> None:
        """Put one block in the place of several of one bucket (merging), or a shorter one in the place of one.

        The ids of what is left out stay, so that a resend is still recognised.
        """
        first, last = blocks[0], blocks[-1]  # the last one's id: `ids_since` reads blocks in the order of arrival
        arrived, ids = self._taken_out(blocks)
        body = self._sealed(first.bucket, events)
        row = self._open_bucket(first.bucket, 2**62, len(events), len(body))
        self._connection.execute(
            "INSERT INTO raw_blocks (id, bucket, events, undated, boot, boot_ms, wall_ms, arrived, ids, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (last.id, row, len(events), first.undated, first.boot, first.boot_ms, first.wall_ms, arrived, ids, body),
        )

    def take_out(self, block: Block) -> Gone:
        """Remove a block; its events go elsewhere."""
        arrived, ids = self._taken_out([block])
        return Gone(arrived, ids, undated=0)

    def _taken_out(self, blocks: Sequence[Block]) -> tuple[int, bytes]:
        """Remove blocks; returns when the last of them came in, and the ids of all."""
        arrived, ids = 0, b""
        for block in blocks:
            row = self._connection.execute(
                "DELETE FROM raw_blocks WHERE id = ? RETURNING bucket, events, length(body), arrived, ids", (block.id,)
            ).fetchone()
            self._connection.execute(
                "UPDATE raw_buckets SET events = events - ?, blocks = blocks - 1, bytes = bytes - ? WHERE id = ?",
                (row[1], row[2], row[0]),
            )
            arrived, ids = max(arrived, row[3]), ids + row[4]
        return arrived, ids

    def owe_receipt(self, bucket_id: int, events: int) -> None:
        """So many events of a bucket that is forgotten next are gone already; its receipt shall count them."""
        self._connection.execute("UPDATE raw_buckets SET events = events + ? WHERE id = ?", (events, bucket_id))

    def doom(self, bucket_id: int, why: str, key_fingerprint: str | None) -> None:
        """Say that a bucket is being forgotten; its key may be destroyed when this is on disk."""
        self._connection.execute(
            "UPDATE raw_buckets SET doomed = ?, key_fingerprint = ? WHERE id = ?", (why, key_fingerprint, bucket_id)
        )

    def delete_some(self, bucket_id: int, most_bytes: int) -> list[Gone] | None:
        """Delete a doomed bucket's blocks, some at a time. None: all are gone, and the bucket's row with them."""
        rows = self._connection.execute(
            "SELECT id, arrived, ids, events * undated, length(body) FROM raw_blocks WHERE bucket = ? LIMIT 256",
            (bucket_id,),
        ).fetchall()
        if not rows:
            self._connection.execute("DELETE FROM raw_buckets WHERE id = ?", (bucket_id,))
            return None
        gone = []
        for number, arrived, ids, undated, size in rows:
            self._connection.execute("DELETE FROM raw_blocks WHERE id = ?", (number,))
            gone.append(Gone(arrived, ids, undated))
            most_bytes -= size
            if most_bytes <= 0:
                break
        return gone

    def has_unsealed(self) -> bool:
        """Whether a version before sealing has left anything."""
        return self._connection.execute("SELECT 1 FROM raw_blocks_unsealed LIMIT 1").fetchone() is not None

    def unsealed(self) -> list[Event]:
        """Events that a version before sealing left, and forgets; store them again."""
        rows = self._connection.execute("SELECT body FROM raw_blocks_unsealed ORDER BY id").fetchall()
        self._connection.execute("DELETE FROM raw_blocks_unsealed")
        return [event for [body] in rows for event in _decoder.decode(zlib.decompress(body))]


def by_bucket(
    events: Sequence[Event], retention_seconds: Mapping[str, int], arrival: Arrival
) -> dict[Bucket, list[Event]]:
    """Events by the bucket they belong to."""
    lengths = {signal: grain(seconds) for signal, seconds in retention_seconds.items()}
    shift_ms, fixed = arrival.shift_ms, None if arrival.is_dated else arrival.retention_ms // 1000
    grouped: dict[tuple[str, int], list[Event]] = {}
    for event in events:
        moment = (event.time_ms + shift_ms) // 1000 if fixed is None else fixed
        place = (event.signal, moment - moment % lengths[event.signal])
        group = grouped.get(place)
        if group is None:
            group = grouped[place] = []
        group.append(event)
    return {Bucket(signal, start, lengths[signal]): group for (signal, start), group in grouped.items()}
