"""The step of the schema that packs rows of single reports into blocks. Nothing that was kept is lost."""

from __future__ import annotations

import secrets
from itertools import groupby
from typing import TYPE_CHECKING, Any

from discreet_aggregator.store import runs
from discreet_aggregator.store.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_aggregator.store.database import Connection

_CHUNK = 10_000  # old rows in memory at once
_RUN_IDS = 262_144

_CELLS = """
insert into cells (metric, metric_version, window_start, dimensions, mechanism)
select metric, metric_version, window_start, dimensions, min(mechanism) from archive_1
group by metric, metric_version, window_start, dimensions
"""
_SUMS = """
insert into sums (cell, folded_until, sums)
select cells.id, (select coalesce(max(id), 0) from archive), accumulators.sums from accumulators
join cells on cells.metric = accumulators.metric and cells.metric_version = accumulators.metric_version
    and cells.window_start = accumulators.window_start and cells.dimensions = accumulators.dimensions
"""
_SOURCES = """
insert into sources (cell, policy_hash, reports)
select cells.id, provenance.policy_hash, provenance.reports from provenance
join cells on cells.metric = provenance.metric and cells.metric_version = provenance.metric_version
    and cells.window_start = provenance.window_start and cells.dimensions = provenance.dimensions
"""
_OLD_REPORTS = """
select archive_1.id, received_at_ms, cells.id, policy_hash, report_id, payload from archive_1
join cells on cells.metric = archive_1.metric and cells.metric_version = archive_1.metric_version
    and cells.window_start = archive_1.window_start and cells.dimensions = archive_1.dimensions
where archive_1.id > ? order by archive_1.id limit ?
"""
_OLD_VERDICTS = "select report_id, verdict, keep_until from verdicts where report_id > ? order by report_id limit ?"
_APPEND = """
insert into archive (received_at_ms, cell, policy_hash, reports, payloads, report_ids)
values (?, ?, ?, ?, ?, ?)
"""


def into_blocks(connection: Connection) -> None:
    """Fill the new tables from the old ones."""
    salt = secrets.token_bytes(runs.SALT_BYTES)
    connection.execute("insert into facts (name, value) values ('salt', ?)", (salt.hex(),))
    connection.execute(_CELLS)
    for rows in _old_reports(connection):
        connection.execute_many(_APPEND, _packed(rows))
    connection.execute(_SUMS)
    connection.execute(_SOURCES)
    seen = Seen(connection, salt)
    for verdicts, keep_until in _old_verdicts(connection):
        seen.add(verdicts, keep_until)


def _old_reports(connection: Connection) -> Iterator[Sequence[Any]]:
    last = 0
    while rows := connection.execute(_OLD_REPORTS, (last, _CHUNK)):
        yield rows
        last = rows[-1][0]


def _packed(rows: Sequence[Any]) -> Iterator[tuple[object, ...]]:
    """Rows admitted at one time, of one cell and policy, as one."""
    ordered = sorted(rows, key=lambda row: (*row[1:5], row[0]))
    for (received_at_ms, cell, policy_hash), group in groupby(ordered, key=lambda row: row[1:4]):
        reports = list(group)
        payloads = b"".join(report[5] for report in reports)
        yield received_at_ms, cell, policy_hash, len(reports), payloads, b"".join(report[4] for report in reports)


def _old_verdicts(connection: Connection) -> Iterator[tuple[dict[bytes, int], int]]:
    last = b""
    while rows := connection.execute(_OLD_VERDICTS, (last, _RUN_IDS)):
        yield {report_id: verdict for report_id, verdict, _ in rows}, max(keep_until for _, _, keep_until in rows)
        last = rows[-1][0]
