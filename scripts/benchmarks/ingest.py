"""From a broker's queue to durable sums: the aggregator as processes beside Mosquitto, and the limits of its parts.

Everything in one run, in turn (each contender once, then all of them again, …), so that a drifting machine moves all;
medians of RUNS. Prints Markdown; `--facts` writes all that was measured, `--save` what plans are made from.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent_process import file_system
from ingest_broker import BrokerError, free_port, mosquitto, publish_all
from ingest_fleet import FLEET, Fleet, make_fleet
from ingest_server import Postgres, Server, cpu_seconds, load_average, resident_mb
from ingest_tables import Bare, Drained, Measurement, tables

from discreet_contract.wire import reports_topic

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
RUNS = 3
REPORTS = 200_000
QUICK_REPORTS = 2_000
PATIENCE_SECONDS = 60.0  # without any progress
STORES = ("SQLite", "PostgreSQL")
WORKERS = (1, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".state"), help="on the disk to measure")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--reports", type=int, default=REPORTS)
    parser.add_argument("--stores", nargs="+", default=list(STORES), choices=STORES)
    parser.add_argument("--workers", nargs="+", type=int, default=list(WORKERS))
    parser.add_argument("--quick", action="store_true", help="a smoke test of one small run; its figures mean nothing")
    parser.add_argument("--facts", type=Path, help="write every measurement as JSON")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.runs, arguments.reports = 1, QUICK_REPORTS
    arguments.folder.mkdir(exist_ok=True)
    kind = file_system(arguments.folder)
    if kind in {"tmpfs", "ramfs"}:
        raise SystemExit(f"{arguments.folder} is a {kind}: nothing would be durable; name a folder on a disk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or a broker and gigabytes would stay behind
    folder = Path(tempfile.mkdtemp(prefix="ingest", dir=arguments.folder.resolve()))
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own where this one is root
    try:
        measurement = Bench(folder, make_fleet(folder / "fleet", arguments.reports), arguments).measure(kind)
    except BrokerError as exc:
        raise SystemExit(str(exc)) from exc
    finally:
        shutil.rmtree(folder)
    if arguments.facts:
        arguments.facts.write_text(json.dumps(asdict(measurement), indent=1) + "\n", encoding="utf-8")
    print(tables(measurement))


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run the aggregator."""

    store: str
    workers: int


class Bench:
    """All contenders over one fleet; every run in a folder of its own, removed after it."""

    def __init__(self, folder: Path, fleet: Fleet, arguments: argparse.Namespace) -> None:
        self._folder = folder
        self._fleet = fleet
        self._arguments = arguments
        self._envelopes = list(fleet.envelopes())
        self._postgres: Postgres | None = None

    def measure(self, kind: str) -> Measurement:
        """Everything, in turn."""
        cases = [Case(store, workers) for store in self._arguments.stores for workers in self._arguments.workers]
        drained: list[Drained] = []
        bare: list[Bare] = []
        loads = [load_average()]
        if "PostgreSQL" in self._arguments.stores:
            self._postgres = Postgres(self._folder)
        try:
            for number in range(self._arguments.runs):
                bare += [self._bare(name, run) for name, run in self._bare_runs().items()]
                drained += [self._drain(case) for case in cases]
                loads.append(load_average())
                print(f"run {number + 1} of {self._arguments.runs} done", file=sys.stderr)
        finally:
            if self._postgres is not None:
                self._postgres.close()
        facts = {"processors": os.cpu_count(), "file_system": kind, "loads": loads, "runs": self._arguments.runs}
        return Measurement(self._fleet.count, facts, drained, bare)

    # --- the aggregator ---------------------------------------------------------------------------------------------

    def _drain(self, case: Case) -> Drained:
        """Fill the broker's queues for workers that are away, then let them come back."""
        own = self._folder / "run"
        server = Server(own / "aggregator", case.workers, self._database(case.store))
        port = free_port()
        server_pids = [self._postgres.pid] if self._postgres is not None and case.store == "PostgreSQL" else []
        try:
            with mosquitto(own / "broker", port) as broker:
                server.configure(self._fleet, port)
                with server.running():
                    pass  # it leaves its sessions behind, with their subscriptions
                publish_all(port, reports_topic(FLEET), self._envelopes)
                with server.running(wait=False) as pid:
                    return _watch(case, server, len(self._envelopes), [pid, broker, *server_pids])
        finally:
            shutil.rmtree(own)

    def _database(self, store: str) -> str:
        if store == "SQLite":
            return ""
        assert self._postgres is not None  # noqa: S101 - started for this store
        return self._postgres.fresh()

    # --- the limits ---------------------------------------------------------------------------------------------------

    def _bare_runs(self) -> dict[str, Callable[[int], dict[str, Any]]]:
        runs: dict[str, Callable[[int], dict[str, Any]]] = {
            "drain": lambda port: self._child("drain", "--port", str(port)),
            "unseal": lambda _: self._child("unseal"),
            "receipts": lambda port: self._child("receipts", "--port", str(port)),
        }
        if "SQLite" in self._arguments.stores:
            runs["insert SQLite"] = lambda _: self._child("insert", "--database", str(self._folder / "bare" / "db"))
        if "PostgreSQL" in self._arguments.stores:
            runs["insert PostgreSQL"] = lambda _: self._child("insert", "--database", self._database("PostgreSQL"))
        return runs

    def _bare(self, name: str, run: Callable[[int], dict[str, Any]]) -> Bare:
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
    server.wait_until(lambda: server.accepted() > 0, "counting")
    first, began = server.accepted(), time.monotonic()
    before = [cpu_seconds(pid) for pid in pids]
    last, moved = first, began
    while last < reports:
        time.sleep(0.02)
        now, count = time.monotonic(), server.accepted()
        if count > last:
            last, moved = count, now
        elif now - moved > PATIENCE_SECONDS:
            raise SystemExit(
                f"{last} of {reports} reports were counted:\n{server.log.read_text(encoding='utf-8')[-3000:]}"
            )
    used = [after - then for after, then in zip((cpu_seconds(pid) for pid in pids), before, strict=True)]
    if last > reports:
        raise SystemExit(f"{last} of {reports} reports were counted: some of them twice")
    return Drained(
        store=case.store,
        workers=case.workers,
        reports=last - first,
        seconds=moved - began,
        worker_cpu_seconds=used[0],
        broker_cpu_seconds=used[1],
        database_cpu_seconds=sum(used[2:]),
        resident_mb=resident_mb(pids[0]),
    )


if __name__ == "__main__":
    main()
