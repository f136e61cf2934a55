"""Read-only view of the database for commands; works beside the running aggregator, which it never blocks."""

from __future__ import annotations

import sqlite3
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from discreet_aggregator.records import Cell
from discreet_aggregator.store.store import translated
from discreet_contract.errors import ConfigError, StoreError
from discreet_contract.wire import Dimensions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CELLS = """
select metric, metric_version, window_start, dimensions, sums from accumulators
where :metric = '' or metric = :metric
order by metric, window_start, metric_version, dimensions
"""
_POLICIES = """
select policy_hash from provenance
where metric = ? and metric_version = ? and window_start = ? and dimensions = ?
"""


@dataclass(frozen=True, slots=True)
class StoredCell:
    """One accumulator with the wire hashes of the policies it came from."""

    cell: Cell
    sums: tuple[int, ...]
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

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        if not self._path.exists():
            raise ConfigError(
                f"{self._path} does not exist: nothing was received yet",
                hint="start the aggregator with `discreet aggregator run`, or check `state_dir`",
            )
        from sqlite_utils import Database

        with translated(self._path):
            self._connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            self._connection.isolation_level = None
            self._database = Database(self._connection)
        try:
            self._begin()
        except BaseException:
            self._connection.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def watermark_ms(self) -> int:
        """The latest time the aggregator has seen, milliseconds."""
        [row] = self._rows("select now_ms from watermark")
        return int(row["now_ms"])

    def cells(self, metric: str = "") -> list[StoredCell]:
        """Accumulators of one metric, or of all, in a stable order."""
        return [self._stored_cell(row) for row in self._rows(_CELLS, {"metric": metric})]

    def refusals(self) -> list[RefusalCount]:
        """All refusal counts, oldest day first."""
        query = "select day, metric, reason, count from refusals order by day, metric, reason"
        return [RefusalCount(**row) for row in self._rows(query)]

    def _begin(self) -> None:
        with translated(self._path):
            self._connection.execute("begin")
            if not self._database["watermark"].exists():
                raise StoreError(f"{self._path} is not an aggregator's database", hint="check `state_dir`")

    def _stored_cell(self, row: dict[str, Any]) -> StoredCell:
        key = (row["metric"], row["metric_version"], row["window_start"], row["dimensions"])
        hashes = tuple(found["policy_hash"] for found in self._rows(_POLICIES, key))
        dimensions = msgspec.json.decode(row["dimensions"], type=Dimensions)
        sums = struct.unpack(f"<{len(row['sums']) // 8}q", row["sums"])
        return StoredCell(Cell(*key[:3], dimensions), sums, hashes)

    def _rows(self, query: str, parameters: Any = ()) -> Iterator[dict[str, Any]]:
        with translated(self._path):
            yield from list(self._database.query(query, parameters))
