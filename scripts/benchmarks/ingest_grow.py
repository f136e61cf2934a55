"""Does a report cost more when millions are known? The real transaction over opened reports, without a broker.

Every millionth report the rate, the bytes of what is kept and the worker's memory are noted. One report in a hundred
is a copy of an earlier one, any of them, and must be told so. Beside it, the shape that the store had before: ids as
the primary key of one table.
"""

from __future__ import annotations

import os
import random
import secrets
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from agent_process import own_line
from ingest_fleet import FLEET, METRICS

from discreet_aggregator.keys import load_keys
from discreet_aggregator.pipeline import Pipeline
from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.store import Store
from discreet_contract import wire
from discreet_contract.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest_fleet import Fleet

BATCH = 500
COPIES = 0.01  # of the reports
LOOKUPS = 41
_KNOWN = 100_000  # earlier ids to copy from
_DAY_SECONDS = 86_400
FORMER = "SQLite, one B-tree"
_FORMER = (
    "pragma journal_mode = wal",
    "pragma synchronous = full",
    "create table verdicts (report_id blob primary key, verdict integer, keep_until integer) strict, without rowid",
    "create index verdicts_by_keep_until on verdicts (keep_until)",
    """
    create table archive (
        id integer primary key, received_at_ms integer, policy_hash blob, metric text, metric_version text,
        window_start integer, mechanism text, payload blob, dimensions text, report_id blob
    ) strict
    """,
)


@dataclass(frozen=True, slots=True)
class Grown:
    """A stretch of a growing history."""

    shape: str  # a store, or what it was before
    reports: int  # known at its end
    rate: float  # reports a second
    cpu_us: float  # of this process, a report
    slowest_batch_ms: float  # with the tidying up after it
    dedupe_bytes: float  # a report
    archive_bytes: float
    resident_mb: float
    lookup_us: float = 0.0  # wall time to find that a report's id is not known, the fastest of LOOKUPS batches
    fresh_rate: float = 0.0  # reports a second into a new SQLite database right afterwards: how quick the machine was


def grow(fleet: Fleet, where: str | Path, shape: str, millions: int, step: int) -> Iterator[Grown]:
    """Let a new database grow; yields every `step` reports, `millions` times."""
    source = _Source(fleet)
    with Store(where) as store:
        store.claim(FLEET)
        pipeline = Pipeline(store, fleet.shelf(), load_keys(fleet.folder / "keys"), SystemClock(), FLEET)
        for _ in range(millions):
            watch = _stretch(pipeline, source, step)
            if pipeline.totals != Counter(accepted=source.made, DUPLICATE=source.copied):
                raise SystemExit(f"{source.made} new reports and {source.copied} copies were told as {pipeline.totals}")
            known, stored = source.made, _stored(where, source.made)
            lookup_us, fresh = _lookup_us(store), _fresh_rate(fleet, step // 20)
            yield Grown(shape, known, *watch.figures(step), *stored, _resident_mb(), lookup_us, fresh)


class _Watch:
    """Adds up what batches took; what is done between them, like making reports, is in no figure."""

    def __init__(self) -> None:
        self._seconds = self._cpu_seconds = self._slowest = 0.0

    def __enter__(self) -> None:
        self._began = (time.monotonic(), time.process_time())

    def __exit__(self, *_: object) -> None:
        took = time.monotonic() - self._began[0]
        self._seconds += took
        self._cpu_seconds += time.process_time() - self._began[1]
        self._slowest = max(self._slowest, took)

    def figures(self, reports: int) -> tuple[float, float, float]:
        """(reports a second, CPU µs a report, milliseconds of the slowest batch)."""
        return reports / self._seconds, self._cpu_seconds / reports * 1e6, self._slowest * 1000


def _lookup_us(store: Store) -> float:
    took = []
    with store.transaction() as transaction:
        for _ in range(LOOKUPS):
            ids = [secrets.token_bytes(wire.REPORT_ID_BYTES) for _ in range(BATCH)]
            began = time.perf_counter()
            transaction.stored_verdicts(ids)
            took.append(time.perf_counter() - began)
    return min(took) / BATCH * 1e6


def _fresh_rate(fleet: Fleet, reports: int) -> float:
    """What no history at all would have given in the same minute: tells a drifting machine from a slower store."""
    with TemporaryDirectory(dir=fleet.folder) as folder, Store(Path(folder) / "aggregator.db") as store:
        store.claim(FLEET)
        pipeline = Pipeline(store, fleet.shelf(), load_keys(fleet.folder / "keys"), SystemClock(), FLEET)
        return _stretch(pipeline, _Source(fleet), max(reports, BATCH)).figures(max(reports, BATCH))[0]


def _stretch(pipeline: Pipeline, source: _Source, reports: int) -> _Watch:
    watch = _Watch()
    for _ in range(reports // BATCH):
        batch = source.batch()
        with watch:
            pipeline.count(batch, [b""] * len(batch))
            pipeline.tend()
    return watch


class _Source:
    """Batches of reports of all the fleet's metrics; some of each are copies."""

    def __init__(self, fleet: Fleet) -> None:
        [policy] = fleet.shelf().values()
        self.made = self.copied = self._offered = 0
        self._chance = random.Random(1)  # noqa: S311 - which report is copied
        self._known: list[wire.Report] = []
        length = policy.plans[next(iter(METRICS))].metric.window_seconds
        start = int(time.time()) - _DAY_SECONDS
        start -= start % length + length
        self._forms = [
            {
                "wire_version": wire.WIRE_VERSION,
                "fleet": FLEET,
                "policy_hash": policy.wire_hash,
                "metric": name,
                "window_start": start,
                "mechanism": policy.plans[name].mechanism.id,
                "payload": bytes(policy.plans[name].mechanism.payload_bytes),
                "dimensions": (),
                "receipt_key": bytes(wire.RECEIPT_KEY_BYTES),
            }
            for name in METRICS
        ]

    def batch(self) -> list[wire.Report]:
        """BATCH new reports and a few earlier ones."""
        new = [
            wire.Report(**self._forms[at % len(self._forms)], report_id=secrets.token_bytes(16)) for at in range(BATCH)
        ]
        copies = self._chance.sample(self._known, min(int(BATCH * COPIES), len(self._known)))
        for one in new[::10]:  # every tenth may be copied later, each of them as probably as any other
            self._keep(one)
        self.made, self.copied = self.made + len(new), self.copied + len(copies)
        return new + copies

    def _keep(self, one: wire.Report) -> None:
        self._offered += 1
        if len(self._known) < _KNOWN:
            self._known.append(one)
        elif (place := self._chance.randrange(self._offered)) < _KNOWN:
            self._known[place] = one


def grow_former(fleet: Fleet, path: Path, millions: int, step: int) -> Iterator[Grown]:
    """The same ids and payloads into the tables of before: one row a report, its id the key of another table."""
    source = _Source(fleet)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in _FORMER:
            connection.execute(statement)
        for _ in range(millions):
            watch = _Watch()
            for _ in range(step // BATCH):
                batch = source.batch()
                with watch:
                    _insert_former(connection, batch)
            sizes = dict(connection.execute("select name, sum(pgsize) from dbstat group by name"))
            dedupe = sizes["verdicts"] + sizes["verdicts_by_keep_until"]
            archive = sizes["archive"]
            known = source.made
            fresh = _fresh_rate(fleet, step // 20)
            bytes_each = (dedupe / known, archive / known)
            yield Grown(FORMER, known, *watch.figures(step), *bytes_each, _resident_mb(), fresh_rate=fresh)


def _insert_former(connection: sqlite3.Connection, batch: Sequence[wire.Report]) -> None:
    ids = [report.report_id for report in batch]
    connection.execute("begin immediate")
    marks = ",".join("?" * len(ids))
    found = connection.execute(f"select report_id from verdicts where report_id in ({marks})", ids)  # noqa: S608
    known = {report_id for (report_id,) in found}
    new = [report for report in batch if report.report_id not in known]
    connection.executemany(
        "insert into archive (received_at_ms, policy_hash, metric, metric_version, window_start, mechanism, payload,"
        " dimensions, report_id) values (0, ?, ?, '0123456789abcdef', ?, ?, ?, '[]', ?)",
        ((one.policy_hash, one.metric, one.window_start, one.mechanism, one.payload, one.report_id) for one in new),
    )
    keep_until = int(time.time())
    connection.executemany("insert into verdicts values (?, 0, ?)", ((one.report_id, keep_until) for one in new))
    connection.execute("commit")


def _stored(where: str | Path, reports: int) -> tuple[float, float]:
    """(bytes of what knows the ids, bytes of the archive) a report, indexes included."""
    with closing(find_database(where).connect(read_only=True)) as connection:
        if isinstance(where, str):
            query = "select relname, pg_total_relation_size(oid) from pg_class where relkind = 'r'"
        else:
            query = "select name, sum(pgsize) from dbstat group by name"
        sizes = Counter({name: int(size) for name, size in connection.execute(query)})
    dedupe = sizes["seen_runs"] + sizes["seen_parts"] + sizes["seen_parts_by_run"]
    return dedupe / reports, (sizes["archive"] + sizes["archive_by_cell"]) / reports


def _resident_mb() -> float:
    return own_line(os.getpid(), "status", "VmRSS") / 1024
