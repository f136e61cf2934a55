"""Single runs of `ingest.py`: the aggregator over a full queue, under a profile, at a steady load; each limit alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest_broker import free_port, mosquitto, publish_all
from ingest_fleet import FLEET
from ingest_latency import latencies
from ingest_server import Postgres, Server, cpu_seconds, resident_mb
from ingest_tables import Bare, Drained, Profiled, Waited

from discreet_contract.wire import reports_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from ingest_fleet import Fleet

HERE = Path(__file__).resolve().parent
PATIENCE_SECONDS = 60.0  # without any progress


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run the aggregator."""

    store: str
    workers: int


@dataclass(frozen=True, slots=True)
class Filled:
    """A broker whose queues are full."""

    pid: int
    queue_bytes: float  # each message


class Runs:
    """Every run in a folder of its own, removed after it. A context manager: it holds the PostgreSQL server."""

    def __init__(self, folder: Path, fleet: Fleet) -> None:
        self._folder = folder
        self._fleet = fleet
        self._envelopes = list(fleet.envelopes())
        self._postgres: Postgres | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._postgres is not None:
            self._postgres.close()

    # --- the aggregator -----------------------------------------------------------------------------------------------

    def drain(self, case: Case) -> Drained:
        """Fill the broker's queues for workers that are away, then let them come back."""
        with self._filled(case) as (server, broker), server.running(wait=False) as pid:
            pids = [pid, broker.pid]
            if case.store == "PostgreSQL":
                pids.append(self._server().pid)
            return replace(_watch(case, server, len(self._envelopes), pids), queue_bytes=broker.queue_bytes)

    def profile(self, case: Case) -> Profiled:
        """The same with every worker under the profile."""
        with self._filled(case) as (server, _):
            with server.profiled() as files, server.counting() as accepted:
                _await_all(accepted, len(self._envelopes), server)
            said = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        sums = {name: dict(sum((Counter(one[name]) for one in said), Counter())) for name in said[0]}
        return Profiled(store=case.store, workers=case.workers, reports=len(self._envelopes), **sums)

    def wait(self, store: str, reports: int, per_second: float) -> Waited:
        """Receipts for a part of the fleet that sends at a steady pace."""
        some = list(zip(self._fleet.report_ids(), self._envelopes, strict=True))[:reports]
        with self._filled(Case(store, 1), waiting=False) as (server, _), server.running():
            return Waited(store=store, per_second=per_second, seconds=latencies(server.port, some, per_second))

    @contextmanager
    def _filled(self, case: Case, *, waiting: bool = True) -> Iterator[tuple[Server, Filled]]:
        own = self._folder / "run"
        database = self._server().fresh() if case.store == "PostgreSQL" else ""
        server = Server(own / "aggregator", case.workers, free_port(), database)
        try:
            with mosquitto(own / "broker", server.port) as broker:
                server.configure(self._fleet)
                queue_bytes = self._fill(server, broker) if waiting else 0.0
                yield server, Filled(broker, queue_bytes)
        finally:
            shutil.rmtree(own)

    def _fill(self, server: Server, broker: int) -> float:
        """All envelopes into the queues of workers that are away; what one of them takes in the broker."""
        with server.running():
            pass  # it leaves its sessions behind, with their subscriptions
        before = resident_mb(broker)
        publish_all(server.port, reports_topic(FLEET), self._envelopes)
        return (resident_mb(broker) - before) * 2**20 / len(self._envelopes)

    def _server(self) -> Postgres:
        if self._postgres is None:
            self._postgres = Postgres(self._folder)
        return self._postgres

    # --- the limits ---------------------------------------------------------------------------------------------------

    def bare(self, stores: list[str]) -> Iterator[Bare]:
        """Every limit once."""
        runs: dict[str, Callable[[int], dict[str, Any]]] = {
            "drain": lambda port: self._child("drain", "--port", str(port)),
            "unseal": lambda _: self._child("unseal"),
            "receipts": lambda port: self._child("receipts", "--port", str(port)),
            "insert SQLite": lambda _: self._child("insert", "--database", str(self._folder / "bare" / "db")),
            "insert PostgreSQL": lambda _: self._child("insert", "--database", self._server().fresh()),
        }
        for name, run in runs.items():
            if not name.startswith("insert ") or name.removeprefix("insert ") in stores:
                yield self._alone(name, run)

    def _alone(self, name: str, run: Callable[[int], dict[str, Any]]) -> Bare:
        own, port = self._folder / "bare", free_port()
        own.mkdir()
        try:
            if name in {"drain", "receipts"}:
                with mosquitto(own, port):
                    return Bare(name=name, **run(port))
            return Bare(name=name, **run(port))
        finally:
            shutil.rmtree(own)

    def _child(self, limit: str, *more: str) -> dict[str, Any]:
        fleet = ["--fleet", str(self._fleet.folder), "--count", str(self._fleet.count)]
        command = [sys.executable, str(HERE / "ingest_bare.py"), limit, *fleet, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said


def _watch(case: Case, server: Server, reports: int, pids: list[int]) -> Drained:
    """From the first durable commit to the last: what starting up costs is in neither time nor CPU."""
    with server.counting() as accepted:
        server.wait_until(lambda: accepted() > 0, "counting")
        first, began = accepted(), time.monotonic()
        before = [cpu_seconds(pid) for pid in pids]
        ended = _await_all(accepted, reports, server)
    used = [after - then for after, then in zip((cpu_seconds(pid) for pid in pids), before, strict=True)]
    return Drained(
        store=case.store,
        workers=case.workers,
        reports=reports - first,
        seconds=ended - began,
        worker_cpu_seconds=used[0],
        broker_cpu_seconds=used[1],
        database_cpu_seconds=sum(used[2:]),
        resident_mb=resident_mb(pids[0]),
        queue_bytes=0.0,
    )


def _await_all(accepted: Callable[[], int], reports: int, server: Server) -> float:
    """The moment at which every report was counted. Raises SystemExit where some never are, or are twice."""
    last, moved = -1, time.monotonic()
    while last < reports:
        time.sleep(0.05)
        now, count = time.monotonic(), accepted()
        if count > last:
            last, moved = count, now
        elif now - moved > PATIENCE_SECONDS:
            log = server.log.read_text(encoding="utf-8")[-3000:]
            raise SystemExit(f"{last} of {reports} reports were counted:\n{log}")
    if last > reports:
        raise SystemExit(f"{last} of {reports} reports were counted: some of them twice")
    return moved
