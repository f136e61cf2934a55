"""Every statement that writes, and the reads that decide what is written.

A `Transaction` exists only inside `Store.transaction()`. All bounds of what is kept stand at
the top of this file with their reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from discreet_contract.errors import StoreError
from discreet_contract.wire import ENVELOPE_SIZES, Verdict

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from discreet_aggregator.records import Admitted, Cell, Refused
    from discreet_aggregator.refusal import RefusalReason
    from discreet_contract.mechanisms.mechanism import Sums
    from discreet_contract.wire import Dimensions

QUARANTINE_ROWS = 1000  # newest kept: at most 4 MB, enough to see what a flood is made of
_QUARANTINE_BYTES = ENVELOPE_SIZES[-1]  # a longer one is no envelope; its beginning tells enough
_LOOKUP_IDS = 500  # ids in one query: below SQLite's oldest limit of 999 parameters

_ADD_SUMS = """
insert into accumulators (metric, metric_version, window_start, dimensions, sums) values (?, ?, ?, ?, ?)
on conflict do update set sums = excluded.sums
"""
_ADD_PROVENANCE = """
insert into provenance (metric, metric_version, window_start, dimensions, policy_hash, reports)
values (?, ?, ?, ?, ?, ?)
on conflict do update set reports = reports + excluded.reports
"""
_ARCHIVE = """
insert into archive (
    received_at_ms, policy_hash, metric, metric_version, window_start, mechanism, payload, dimensions, report_id
) values (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class Transaction:
    """What may be done between begin and commit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def raise_watermark(self, now_ms: int) -> int:
        """Lift the stored time to `now_ms` unless it is later already; returns the time that counts."""
        [watermark] = self._connection.execute(
            "update watermark set now_ms = max(now_ms, ?) returning now_ms", (now_ms,)
        ).fetchone()
        return int(watermark)

    def stored_verdicts(self, report_ids: Sequence[bytes]) -> dict[bytes, Verdict]:
        """First verdicts of those ids that have one."""
        found: dict[bytes, Verdict] = {}
        for start in range(0, len(report_ids), _LOOKUP_IDS):
            some = report_ids[start : start + _LOOKUP_IDS]
            marks = ",".join("?" * len(some))
            query = f"select report_id, verdict from verdicts where report_id in ({marks})"  # noqa: S608 only marks
            found |= {report_id: Verdict(verdict) for report_id, verdict in self._connection.execute(query, some)}
        return found

    def archive(self, admitted: Iterable[Admitted], now_ms: int) -> None:
        """Append every admitted report as it came."""
        self._connection.executemany(_ARCHIVE, (_archive_row(one, now_ms) for one in admitted))

    def add_sums(self, sums: Mapping[Cell, Sums]) -> None:
        """Add one batch's sums to the stored ones."""
        for cell, added in sums.items():
            key = _key(cell)
            row = self._connection.execute(
                "select sums from accumulators"
                " where metric = ? and metric_version = ? and window_start = ? and dimensions = ?",
                key,
            ).fetchone()
            total = added if row is None else _merged(row[0], added, cell)
            self._connection.execute(_ADD_SUMS, (*key, total.astype("<i8").tobytes()))

    def add_provenance(self, reports: Mapping[tuple[Cell, bytes], int]) -> None:
        """Note under which policies a cell's reports were made."""
        self._connection.executemany(
            _ADD_PROVENANCE, ((*_key(cell), policy_hash, count) for (cell, policy_hash), count in reports.items())
        )

    def remember_verdicts(self, decisions: Iterable[Admitted | Refused]) -> None:
        """Store the verdict of each id that has none yet; the first one stays."""
        self._connection.executemany(
            "insert into verdicts (report_id, verdict, keep_until) values (?, ?, ?) on conflict do nothing",
            (
                (one.report.report_id, int(one.verdict), one.keep_until)
                for one in decisions
                if one.report is not None and one.verdict is not None
            ),
        )

    def forget_verdicts(self, now_ms: int, *, at_most: int) -> None:
        """Drop verdicts of reports that would be refused as too late anyway; a few a batch, so no batch waits long."""
        self._connection.execute(
            "delete from verdicts where report_id in"
            " (select report_id from verdicts where keep_until * 1000 < ? order by keep_until limit ?)",
            (now_ms, at_most),
        )

    def count_refusals(self, day: str, counts: Mapping[tuple[str, RefusalReason], int]) -> None:
        """Add to the day's counts, by metric and reason."""
        self._connection.executemany(
            "insert into refusals (day, metric, reason, count) values (?, ?, ?, ?)"
            " on conflict do update set count = count + excluded.count",
            ((day, metric, reason.value, count) for (metric, reason), count in counts.items()),
        )

    def quarantine(self, sample: Mapping[RefusalReason, bytes], now_ms: int) -> None:
        """Keep refused envelopes for an operator to look at; the oldest make room."""
        if not sample:
            return
        self._connection.executemany(
            "insert into quarantine (received_at_ms, reason, envelope) values (?, ?, ?)",
            ((now_ms, reason.value, envelope[:_QUARANTINE_BYTES]) for reason, envelope in sample.items()),
        )
        self._connection.execute(
            "delete from quarantine where id <= (select max(id) from quarantine) - ?", (QUARANTINE_ROWS,)
        )


def encode_dimensions(dimensions: Dimensions) -> str:
    """Dimensions as the text that keys a row."""
    return msgspec.json.encode(dimensions).decode()


def _key(cell: Cell) -> tuple[str, str, int, str]:
    return (cell.metric, cell.metric_version, cell.window_start, encode_dimensions(cell.dimensions))


def _archive_row(one: Admitted, now_ms: int) -> tuple[object, ...]:
    report = one.report
    dimensions = encode_dimensions(report.dimensions)
    name, version = one.plan.name, one.plan.version
    window = report.window_start
    return (
        *(now_ms, report.policy_hash, name, version, window),
        *(report.mechanism, report.payload, dimensions, report.report_id),
    )


def _merged(stored: bytes, added: Sums, cell: Cell) -> Sums:
    import numpy as np

    old = np.frombuffer(stored, dtype="<i8")
    if len(old) != len(added):
        raise StoreError(
            f"stored sums of metric {cell.metric} version {cell.metric_version} have another length",
            hint="a policy changed a metric's categories but not its version: release it under a new name",
        )
    return old.astype(np.int64) + added
