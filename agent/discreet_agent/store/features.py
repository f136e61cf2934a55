"""States of features, one row for each bucket and key; and when their sources were alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from discreet_contract.errors import CorruptStoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


class FeatureRow(NamedTuple):
    """One bucket of one feature, under one key."""

    feature: str
    start: int  # second
    key: str
    expires_at: int  # second of retention time
    is_partial: bool  # something in it could not be undone
    state: list[Any]


class Built(NamedTuple):
    """Under which form a feature's states are kept, and since when they hold all there was."""

    state_version: str
    complete_since: int  # second
    floor: int = 0  # second before which it knows nothing on purpose


class Features:
    """Rows of `features` and `feature_states`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def built(self) -> dict[str, Built]:
        """Every feature of which states are kept."""
        rows = self._connection.execute("SELECT name, state_version, complete_since, floor FROM features")
        return {row[0]: Built(*row[1:]) for row in rows}

    def mark_built(self, name: str, built: Built) -> None:
        """From now on its states are kept."""
        self._connection.execute("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?)", (name, *built))

    def load(self, feature: str) -> list[FeatureRow]:
        """Every bucket of a feature, oldest first. Raises CorruptStoreError."""
        rows = self._connection.execute(
            "SELECT feature, start, key, expires_at, is_partial, state FROM feature_states WHERE feature = ? "
            "ORDER BY start",
            (feature,),
        ).fetchall()
        try:
            decode = msgspec.msgpack.decode
            return [FeatureRow(row[0], row[1], row[2], row[3], bool(row[4]), decode(row[5], type=list)) for row in rows]
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise CorruptStoreError(f"a state of feature {feature} cannot be read", hint="look at the disk") from exc

    def save(self, rows: Iterable[FeatureRow]) -> None:
        """Replace buckets."""
        encode = msgspec.msgpack.encode
        self._connection.executemany(
            "INSERT INTO feature_states VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "is_partial = excluded.is_partial, state = excluded.state",
            [(*row[:5], encode(row.state)) for row in rows],
        )

    def remove(self, feature: str, start: int, key: str) -> None:
        """Forget one bucket's state under one key: its last event was taken back."""
        self._connection.execute(
            "DELETE FROM feature_states WHERE feature = ? AND start = ? AND key = ?", (feature, start, key)
        )

    def forget(self, feature: str, *, expired_at: int | None = None, before: int | None = None) -> tuple[int, int, int]:
        """Forget what expired by a second of retention time, or buckets that start before one.

        Neither: all. Returns (rows, first start, last start); zeros where nothing went.
        """
        rows = self._connection.execute(
            "DELETE FROM feature_states WHERE feature = ? AND (? IS NULL OR expires_at <= ?) "
            "AND (? IS NULL OR start < ?) RETURNING start",
            (feature, expired_at, expired_at, before, before),
        ).fetchall()
        starts = [start for [start] in rows]
        return (len(starts), min(starts), max(starts)) if starts else (0, 0, 0)

    def drop(self, feature: str) -> None:
        """Forget that a feature's states were kept; they are forgotten already."""
        self._connection.execute("DELETE FROM features WHERE name = ?", (feature,))


class SourceSpans:
    """Rows of `source_spans`: times in which a signal's events would have been taken."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load(self) -> dict[str, list[list[int]]]:
        """Signal → [[first ms, last ms], …], oldest first."""
        spans: dict[str, list[list[int]]] = {}
        for signal, start, end in self._connection.execute(
            "SELECT signal, start_ms, end_ms FROM source_spans ORDER BY signal, start_ms"
        ):
            spans.setdefault(signal, []).append([start, end])
        return spans

    def save(self, signal: str, start_ms: int, end_ms: int) -> None:
        """Keep or prolong one."""
        self._connection.execute("INSERT OR REPLACE INTO source_spans VALUES (?, ?, ?)", (signal, start_ms, end_ms))

    def forget(self, before_ms: int, most: int) -> None:
        """Forget those that ended before, and the oldest where a signal has too many."""
        self._connection.execute("DELETE FROM source_spans WHERE end_ms < ?", (before_ms,))
        self._connection.execute(
            "DELETE FROM source_spans WHERE (signal, start_ms) IN (SELECT signal, start_ms FROM (SELECT signal, "
            "start_ms, row_number() OVER (PARTITION BY signal ORDER BY start_ms DESC) AS place FROM source_spans) "
            "WHERE place > ?)",
            (most,),
        )

    def clear(self) -> None:
        """Forget all."""
        self._connection.execute("DELETE FROM source_spans")
