"""The archive of admitted reports, and the sums over it. One row a batch, cell and policy: nothing here is hot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from discreet_aggregator.accumulate import accumulate, by_cell, fold, is_fold_due, is_wide
from discreet_contract.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from discreet_aggregator.records import Block, Cell
    from discreet_aggregator.store.database import Connection
    from discreet_contract.mechanisms.mechanism import Sums
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.wire import Dimensions

_FIND_CELL = """
select id from cells where metric = ? and metric_version = ? and window_start = ? and dimensions = ?
"""
_NEW_CELL = """
insert into cells (metric, metric_version, window_start, dimensions, mechanism) values (?, ?, ?, ?, ?) returning id
"""
_APPEND = """
insert into archive (received_at_ms, cell, policy_hash, reports, payloads, report_ids)
values (?, ?, ?, ?, ?, ?)
"""
_SET_SUMS = """
insert into sums (cell, folded_until, sums) values (?, ?, ?)
on conflict (cell) do update set folded_until = excluded.folded_until, sums = excluded.sums
"""
_ADD_SOURCE = """
insert into sources (cell, policy_hash, reports) values (?, ?, ?)
on conflict (cell, policy_hash) do update set reports = sources.reports + excluded.reports
"""
_SUM_KEYS = 500  # in one query: below SQLite's oldest limit of 999 parameters


class Archive:
    """What one worker knows of the cells. After a transaction that failed it is thrown away, and another one begins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cells: dict[Cell, int] = {}
        self._waiting: dict[int, int] = {}  # reports of this worker that a wide cell does not hold yet

    def append(self, blocks: Sequence[Block], now_ms: int) -> None:
        """Add a batch: archive, sources and sums."""
        for block in blocks:
            self._find_cell(block.cell, block.plan)
        self._connection.execute_many(_APPEND, (self._archive_row(block, now_ms) for block in blocks))
        self._connection.execute_many(
            _ADD_SOURCE, ((self._cells[block.cell], block.policy_hash, block.reports) for block in blocks)
        )
        self._add_sums(by_cell(blocks))

    def _add_sums(self, batch: Mapping[Cell, list[Block]]) -> None:
        """Sums of a few numbers grow with every batch; wide ones when it is worth it."""
        narrow = [(self._cells[cell], blocks) for cell, blocks in batch.items() if not is_wide(blocks[0].plan)]
        if narrow:
            [[newest]] = self._connection.execute("select max(id) from archive")
            stored = self._stored_sums([cell for cell, _ in narrow])
            rows = [(cell, newest, _merged(stored.get(cell), accumulate(blocks))) for cell, blocks in narrow]
            self._connection.execute_many(_SET_SUMS, rows)
        for cell, blocks in batch.items():
            if is_wide(blocks[0].plan):
                self._note_wide(self._cells[cell], blocks[0].plan, sum(block.reports for block in blocks))

    def _note_wide(self, cell: int, plan: MetricPlan, reports: int) -> None:
        if cell not in self._waiting:
            query = (
                "select coalesce(sum(reports), 0) from archive"
                " where cell = ? and id > coalesce((select folded_until from sums where cell = ?), 0)"
            )
            [[waiting]] = self._connection.execute(query, (cell, cell))
            self._waiting[cell] = int(waiting)
        else:
            self._waiting[cell] += reports
        if is_fold_due(plan, self._waiting[cell]):
            self._fold(cell, plan)
            self._waiting[cell] = 0

    def _fold(self, cell: int, plan: MetricPlan) -> None:
        """Add to a wide cell's sums what came since they were written, whichever worker admitted it."""
        stored = self._connection.execute("select folded_until, sums from sums where cell = ?", (cell,))
        until, sums = stored[0] if stored else (0, None)
        rows = self._connection.execute(
            "select id, payloads from archive where cell = ? and id > ? order by id", (cell, until)
        )
        added = fold((payloads for _, payloads in rows), plan.mechanism)
        self._connection.execute(_SET_SUMS, (cell, rows[-1][0], _merged(sums, added)))

    def _stored_sums(self, cells: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        for start in range(0, len(cells), _SUM_KEYS):
            some = cells[start : start + _SUM_KEYS]
            marks = ",".join("?" * len(some))
            found |= dict(self._connection.execute(f"select cell, sums from sums where cell in ({marks})", some))  # noqa: S608
        return found

    def _find_cell(self, cell: Cell, plan: MetricPlan) -> None:
        if cell in self._cells:
            return
        key = (cell.metric, cell.metric_version, cell.window_start, encode_dimensions(cell.dimensions))
        rows = self._connection.execute(_FIND_CELL, key)
        if not rows:
            rows = self._connection.execute(_NEW_CELL, (*key, plan.mechanism.id))
        self._cells[cell] = rows[0][0]

    def _archive_row(self, block: Block, now_ms: int) -> tuple[object, ...]:
        cell = self._cells[block.cell]
        return (now_ms, cell, block.policy_hash, block.reports, block.payloads, block.report_ids)


def encode_dimensions(dimensions: Dimensions) -> str:
    """Dimensions as the text that keys a row."""
    return msgspec.json.encode(dimensions).decode()


def _merged(stored: bytes | None, added: Sums) -> bytes:
    if stored is None:
        return added.astype("<i8").tobytes()
    old = np.frombuffer(stored, dtype="<i8")
    if len(old) != len(added):
        raise StoreError(
            "stored sums have another length than their metric's",
            hint="a policy changed a metric's categories but not its version: release it under a new name",
        )
    return (old.astype(np.int64) + added).astype("<i8").tobytes()
