"""Read-only view of the database for commands; works beside the running aggregator, which it never blocks."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from discreet_aggregator.records import Cell, Watermark
from discreet_aggregator.store.database import find_database
from discreet_contract.errors import ConfigError, DiscreetError, StoreError
from discreet_contract.wire import Dimensions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from discreet_aggregator.store.database import Connection

_CELLS = """
select cells.id, metric, metric_version, window_start, dimensions, folded_until, sums
from cells left join sums on sums.cell = cells.id
where ? = '' or metric = ?
order by metric, window_start, metric_version, dimensions
"""
_WAITING = "select payloads from archive where cell = ? and id > ? order by id"
_POLICIES = "select policy_hash from sources where cell = ? order by policy_hash"


@dataclass(frozen=True, slots=True)
class StoredCell:
    """One cell's sums with the wire hashes of the policies they came from."""

    cell: Cell
    sums: tuple[int, ...]  # empty where none are written yet
    waiting: tuple[bytes, ...]  # archived payloads that the sums do not hold yet; of wide sums only
    policy_hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """One row of the refusal counts."""

    day: str
    metric: str
    reason: str
    count: int


class Reader:
    """A read-only connection, and one snapshot for as long as it is open."""

    def __init__(self, where: str | Path) -> None:
        self._database = find_database(where)

    def __enter__(self) -> Self:
        if not self._database.exists():
            raise ConfigError(
                f"{self._database.name} does not exist: nothing was received yet",
                hint="start the aggregator with `discreet aggregator run`, or check `state_dir`",
            )
        self._connection: Connection = self._database.connect(read_only=True)
        try:
            self._begin()
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._connection.rollback()
        except DiscreetError:  # nothing was written: a connection that is gone is as good as closed
            pass
        finally:
            self._connection.close()

    def watermark(self) -> Watermark:
        """What time it is for admission."""
        [[now_ms, forgotten]] = self._connection.execute("select now_ms, forgotten from watermark")
        return Watermark(int(now_ms), int(forgotten))

    def interventions(self) -> list[tuple[int, str, str]]:
        """What operators changed by hand, oldest first: when (ms), what, why."""
        query = "select at_ms, what, reason from interventions order by id"
        return [(int(at_ms), what, reason) for at_ms, what, reason in self._connection.execute(query)]

    def cells(self, metric: str = "") -> list[StoredCell]:
        """Sums of one metric, or of all, in a stable order."""
        return [self._stored_cell(*row) for row in self._connection.execute(_CELLS, (metric, metric))]

    def refusals(self) -> list[RefusalCount]:
        """All refusal counts, oldest day first."""
        query = "select day, metric, reason, count from refusals order by day, metric, reason"
        return [RefusalCount(*row) for row in self._connection.execute(query)]

    def accepted(self) -> dict[str, int]:
        """Reports that count, by metric, over everything that is stored."""
        query = "select metric, sum(reports) from sources join cells on cells.id = sources.cell group by metric"
        return {metric: int(reports) for metric, reports in self._connection.execute(f"{query} order by metric")}

    def seen_ids(self) -> int:
        """Report ids whose verdicts are remembered."""
        [[ids]] = self._connection.execute("select coalesce(sum(ids), 0) from seen_runs")
        return int(ids)

    def quarantined(self) -> int:
        """Refused envelopes that are kept for a look."""
        [[rows]] = self._connection.execute("select count(*) from quarantine")
        return int(rows)

    def quarantine(self, reason: str, limit: int) -> list[tuple[int, int, str, int]]:
        """Refused envelopes that are kept, newest first: number, when (ms), why, bytes."""
        query = (
            "select id, received_at_ms, reason, length(envelope) from quarantine where ? = '' or reason = ? "
            "order by id desc limit ?"
        )
        return [
            (int(n), int(ms), why, int(size))
            for n, ms, why, size in self._connection.execute(query, (reason, reason, limit))
        ]

    def quarantined_envelope(self, number: int) -> bytes | None:
        """One of them, as it was received."""
        rows = self._connection.execute("select envelope from quarantine where id = ?", (number,))
        return bytes(rows[0][0]) if rows else None

    def archived(self) -> Iterator[tuple[Cell, bytes, bytes, bytes]]:
        """Every block of admitted reports in the order of admission: cell, policy hash, payloads, report ids."""
        cells = dict(self._named_cells())
        query = "select id, cell, policy_hash, payloads, report_ids from archive where id > ? order by id limit 1000"
        last = 0
        while rows := self._connection.execute(query, (last,)):
            for _, cell, policy_hash, payloads, report_ids in rows:
                yield cells[cell], policy_hash, payloads, report_ids
            last = rows[-1][0]

    def last_admission_ms(self) -> int:
        """When the newest admitted reports came, by the watermark; 0 before the first."""
        rows = self._connection.execute("select received_at_ms from archive order by id desc limit 1")
        return int(rows[0][0]) if rows else 0

    def size_bytes(self) -> int:
        """What the database takes on disk."""
        return self._connection.size_bytes()

    def _begin(self) -> None:
        self._connection.begin_reading()
        if not {"watermark", "cells", "interventions"} <= self._connection.tables():
            raise StoreError(
                f"{self._database.name} is not an aggregator's database of this version",
                hint="check `state_dir` or `database`; `discreet aggregator run` brings an older one up to date",
            )

    def _named_cells(self) -> Iterator[tuple[int, Cell]]:
        for number, *key, _, _ in self._connection.execute(_CELLS, ("", "")):
            yield number, _cell(*key)

    def _stored_cell(self, number: int, *row: Any) -> StoredCell:
        *key, until, sums = row
        waiting = tuple(payloads for (payloads,) in self._connection.execute(_WAITING, (number, until or 0)))
        hashes = tuple(policy_hash for (policy_hash,) in self._connection.execute(_POLICIES, (number,)))
        held = struct.unpack(f"<{len(sums) // 8}q", sums) if sums is not None else ()
        return StoredCell(_cell(*key), held, waiting, hashes)


def _cell(metric: str, metric_version: str, window_start: int, dimensions: str) -> Cell:
    return Cell(metric, metric_version, window_start, msgspec.json.decode(dimensions, type=Dimensions))
