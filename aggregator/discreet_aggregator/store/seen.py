"""Which report ids were seen, and their first verdicts: a log of batches, merged into sorted runs.

Random ids in one big B-tree cost a page each, twice; here an id is written three times in
its life, 17 bytes each, whatever the number of ids. A worker keeps the young batches' ids
in memory, a filter of every older run, and reads a part of a run only where a filter says that an id may be in
it. Each transaction first takes in what other workers committed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from discreet_aggregator.store import runs
from discreet_contract.wire import REPORT_ID_BYTES, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from discreet_aggregator.store.database import Connection

PART_IDS = 235  # a part of a run fills one page of SQLite
_LOOKUP_PARTS = 500  # in one query: below SQLite's oldest limit of 999 parameters


@dataclass(frozen=True, slots=True)
class Bounds:
    """When runs are merged."""

    young_ids: int = 32_768  # batches are merged once they hold this many …
    young_runs: int = 256  # … or are this many; smaller runs stay in memory as a whole: 8 MB at the most
    tier_runs: int = 16  # runs of less than full_ids that are merged into one
    full_ids: int = 262_144  # a run of as many is never merged again: a merge holds up all workers for some 0.2 s


BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class _OldRun:
    """What is remembered of a run that is too large to be remembered itself."""

    ids: int
    words: runs.Words
    firsts: npt.NDArray[np.bytes_]  # the least id of each part
    parts: npt.NDArray[np.int64]  # their row numbers


class Seen:
    """One worker's view of the ids. After a transaction that failed it is thrown away, and another one begins empty."""

    def __init__(self, connection: Connection, salt: bytes, bounds: Bounds = BOUNDS) -> None:
        self._connection = connection
        self._salt = salt
        self._bounds = bounds
        self._young: dict[int, dict[bytes, int]] = {}  # by run; together `_recent`
        self._recent: dict[bytes, int] = {}
        self._old: dict[int, _OldRun] = {}
        self._last = 0  # the newest run that was taken in
        self._staged: tuple[int, dict[bytes, int]] | None = None

    def sync(self) -> None:
        """Take in the runs that were committed since the last transaction of this worker."""
        self._staged = None
        query = "select id, ids, is_merged from seen_runs where id > ? order by id"
        fresh = self._connection.execute(query, (self._last,))
        if any(is_merged for _, _, is_merged in fresh):
            self._drop_vanished()
        for run, ids, _ in fresh:
            self._take_in(run, ids)
            self._last = run

    def find(self, report_ids: Sequence[bytes]) -> dict[bytes, Verdict]:
        """First verdicts of those ids that have one."""
        recent = self._recent
        found = {report_id: Verdict(recent[report_id]) for report_id in report_ids if report_id in recent}
        others = list(dict.fromkeys(report_id for report_id in report_ids if report_id not in found))
        if not others or not self._old:
            return found
        asked = runs.probe(runs.hashes(b"".join(others), self._salt))
        suspects: list[tuple[bytes, int]] = []
        for old in self._old.values():
            places = np.flatnonzero(runs.may_hold(old.words, asked))
            if len(places):
                suspects += _within([others[place] for place in places], old)
        return found | self._look_up(suspects)

    def add(self, verdicts: Mapping[bytes, int], keep_until: int) -> None:
        """Append a batch's new ids; `keep_until` (seconds) is when the last of them would be refused as too late."""
        if not verdicts:
            return
        run = self._write(runs.pack(verdicts), keep_until, is_merged=False)
        self._staged = (run, dict(verdicts))

    def committed(self) -> None:
        """What was added in this transaction is durable."""
        if self._staged is None:
            return
        run, verdicts = self._staged
        self._remember_young(run, verdicts)
        self._last = run
        self._staged = None

    def is_merge_due(self) -> bool:
        """Whether batches, or runs of one tier, have become too many."""
        return self._due() is not None

    def merge(self) -> bool:
        """Merge what is due, inside a transaction of its own after `sync`; False if nothing is."""
        self._drop_vanished()
        due = self._due()
        if due is None:
            return False
        marks = _marks(due)
        query = f"select records from seen_parts where run in ({marks}) order by id"  # noqa: S608 only marks
        contents = [records for (records,) in self._connection.execute(query, due)]
        [[keep_until]] = self._connection.execute(
            f"select max(keep_until) from seen_runs where id in ({marks})",  # noqa: S608
            due,
        )
        self._write(runs.merge(contents), keep_until, is_merged=True)
        self._delete(due)
        return True

    def forget(self, now_seconds: int) -> int | None:
        """Drop one run all of whose ids would be refused as too late; returns until when ids are forgotten."""
        rows = self._connection.execute(
            "select id, keep_until from seen_runs where keep_until < ? order by keep_until limit 1", (now_seconds,)
        )
        if not rows:
            return None
        [(run, keep_until)] = rows
        self._delete([run])
        self._remove(run)
        return int(keep_until)

    def _due(self) -> list[int] | None:
        bounds = self._bounds
        if len(self._recent) >= bounds.young_ids or len(self._young) >= bounds.young_runs:
            return list(self._young)
        tier = [run for run, old in self._old.items() if old.ids < bounds.full_ids]
        return tier[: bounds.tier_runs] if len(tier) >= bounds.tier_runs else None

    def _write(self, records: bytes, keep_until: int, *, is_merged: bool) -> int:
        ids = len(records) // runs.RECORD_BYTES
        is_old = ids >= self._bounds.young_ids
        words = runs.make_filter(runs.hashes(_only_ids(records), self._salt)).astype("<u8").tobytes() if is_old else b""
        [[run]] = self._connection.execute(
            "insert into seen_runs (ids, is_merged, keep_until, filter) values (?, ?, ?, ?) returning id",
            (ids, int(is_merged), keep_until, words),
        )
        self._connection.execute_many(
            "insert into seen_parts (run, first, records) values (?, ?, ?)",
            ((run, part[:REPORT_ID_BYTES], part) for part in _parts(records)),
        )
        return int(run)

    def _delete(self, due: Sequence[int]) -> None:
        for table, column in (("seen_parts", "run"), ("seen_runs", "id")):
            self._connection.execute(f"delete from {table} where {column} in ({_marks(due)})", due)  # noqa: S608

    def _take_in(self, run: int, ids: int) -> None:
        if ids < self._bounds.young_ids:
            rows = self._connection.execute("select records from seen_parts where run = ? order by id", (run,))
            self._remember_young(run, dict(runs.unpack(b"".join(records for (records,) in rows))))
            return
        rows = self._connection.execute("select id, first from seen_parts where run = ? order by id", (run,))
        [[words]] = self._connection.execute("select filter from seen_runs where id = ?", (run,))
        firsts = np.array([first for _, first in rows], dtype=f"S{REPORT_ID_BYTES}")
        parts = np.array([part for part, _ in rows], dtype=np.int64)
        self._old[run] = _OldRun(ids, np.frombuffer(words, dtype="<u8").astype(np.uint64), firsts, parts)

    def _remember_young(self, run: int, verdicts: dict[bytes, int]) -> None:
        self._young[run] = verdicts
        self._recent |= verdicts

    def _drop_vanished(self) -> None:
        held = {run for (run,) in self._connection.execute("select id from seen_runs")}
        for run in [*self._young, *self._old]:
            if run not in held:
                self._remove(run)

    def _remove(self, run: int) -> None:
        self._old.pop(run, None)
        for report_id in self._young.pop(run, ()):
            self._recent.pop(report_id, None)

    def _look_up(self, suspects: Sequence[tuple[bytes, int]]) -> dict[bytes, Verdict]:
        """Read the parts in which the suspects would be, of all runs at once: a query for each run would cost more."""
        contents = self._read_parts(sorted({part for _, part in suspects}))
        verdicts = ((report_id, runs.find(contents.get(part, b""), report_id)) for report_id, part in suspects)
        return {report_id: Verdict(verdict) for report_id, verdict in verdicts if verdict is not None}

    def _read_parts(self, parts: Sequence[int]) -> dict[int, bytes]:
        contents: dict[int, bytes] = {}
        for start in range(0, len(parts), _LOOKUP_PARTS):
            some = parts[start : start + _LOOKUP_PARTS]
            query = f"select id, records from seen_parts where id in ({_marks(some)})"  # noqa: S608 only marks
            contents |= {part: bytes(records) for part, records in self._connection.execute(query, some)}
        return contents


def _within(suspects: Sequence[bytes], old: _OldRun) -> Iterator[tuple[bytes, int]]:
    """The part in which each suspect would be; none for an id before the first."""
    places = np.searchsorted(old.firsts, np.array(suspects, dtype=f"S{REPORT_ID_BYTES}"), side="right") - 1
    return ((report_id, int(old.parts[place])) for report_id, place in zip(suspects, places, strict=True) if place >= 0)


def _parts(records: bytes) -> Iterator[bytes]:
    length = PART_IDS * runs.RECORD_BYTES
    for start in range(0, len(records), length):
        yield records[start : start + length]


def _only_ids(records: bytes) -> bytes:
    """Ids without their verdicts."""
    table = np.frombuffer(records, dtype=np.uint8).reshape(-1, runs.RECORD_BYTES)
    return table[:, :REPORT_ID_BYTES].tobytes()


def _marks(values: Iterable[object]) -> str:
    return ",".join("?" for _ in values)
