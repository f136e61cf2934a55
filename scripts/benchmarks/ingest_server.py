"""The aggregator as its own command runs it, on SQLite or PostgreSQL, and what its processes have used.

All that a benchmark needs to know of the aggregator's inside stands here: its configuration, the line it logs when it
is subscribed, and where it keeps the number of reports it has accepted.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_process import TICKS, own_line
from ingest_fleet import FLEET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingest_fleet import Fleet

TESTS_LIB = Path(__file__).resolve().parents[2] / "tests" / "_lib"
PROFILE = Path(__file__).resolve().with_name("ingest_profile.py")
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """An aggregator's folder. `database` is empty for SQLite in its state folder, else a postgresql:// address."""

    folder: Path
    workers: int
    port: int  # of the broker
    database: str = ""

    @property
    def config(self) -> Path:
        """aggregator.toml."""
        return self.folder / "aggregator.toml"

    @property
    def log(self) -> Path:
        """Standard error of its processes."""
        return self.folder / "log"

    def configure(self, fleet: Fleet) -> None:
        """Write its configuration."""
        self.folder.mkdir(parents=True)
        lines = [
            f'fleet = "{FLEET}"',
            'state_dir = "state"',
            f'keys_dir = "{fleet.folder}/keys"',
            f'policies = ["{fleet.folder}/policies"]',
            f'roots = ["{fleet.root}"]',
            *([f"workers = {self.workers}"] if self.workers > 1 else []),
            *([f'database = "{self.database}"'] if self.database else []),
            f'[broker]\nurl = "mqtt://127.0.0.1:{self.port}"\n',
        ]
        self.config.write_text("\n".join(lines), encoding="utf-8")

    @contextmanager
    def running(self, *, wait: bool = True) -> Iterator[int]:
        """Start it; yields its process id, once all workers are subscribed where `wait` says so. Ended gently."""
        ready = self._times_ready() + self.workers
        with self._process(["discreet", "aggregator", "run", "--config", str(self.config)]) as process:
            if wait:
                self.wait_until(lambda: self._times_ready() >= ready, "subscribed", process)
            yield process.pid

    @contextmanager
    def profiled(self) -> Iterator[list[Path]]:
        """Start its workers without whoever looks after them, each under the profile; yields what they will write."""
        files = [self.folder / f"profile-{number}.json" for number in range(1, self.workers + 1)]
        with ExitStack() as stack:
            for number, file in enumerate(files, start=1):
                command = [sys.executable, str(PROFILE), str(self.config), str(file), str(number)]
                stack.enter_context(self._process(command))
            yield files

    @contextmanager
    def _process(self, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen(command, stderr=self.log.open("ab"), stdin=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _times_ready(self) -> int:
        return self.log.read_bytes().count(b'"event": "ready"') if self.log.exists() else 0

    def wait_until(
        self, condition: Callable[[], bool], what: str, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        """Poll until it holds; raises with the log's end where it never does."""
        ends = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > ends or (process is not None and process.poll() is not None):
                raise SystemExit(f"the aggregator is not {what}:\n{self.log.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(0.02)

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Yields a function that says how many reports' acceptance is durable; the database is there once it ran."""
        from discreet_aggregator.store.database import find_database

        connection = find_database(self.database or self.folder / "state" / "aggregator.db").connect(read_only=True)

        def accepted() -> int:
            [[reports]] = connection.execute("select coalesce(sum(reports), 0) from sources")
            return int(reports)

        try:
            yield accepted
        finally:
            connection.close()


# --- what processes have used -----------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and all that it started, as far as they live."""
    found = [pid]
    for member in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{member}/task").iterdir():
                found += map(int, (thread / "children").read_text(encoding="ascii").split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of all that it started, and of those of them that have ended."""
    return sum(_ticks(member) for member in family(pid)) / TICKS


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    except OSError:
        return 0
    return sum(map(int, fields[11:15]))


def resident_mb(pid: int) -> float:
    """Largest resident memory so far of the hungriest of these processes."""
    return max(own_line(member, "status", "VmHWM") for member in family(pid)) / 1024


def load_average() -> float:
    """How many others wanted to run in the last minute."""
    return os.getloadavg()[0]


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


class Postgres:
    """A PostgreSQL server of its own, on loopback, with its data in `folder`: as tests start it, `fsync` on."""

    def __init__(self, folder: Path) -> None:
        sys.path.append(str(TESTS_LIB))
        from postgres import Server as PostgresServer
        from postgres import find_binaries

        binaries = find_binaries()
        if binaries is None:
            raise SystemExit("PostgreSQL is not installed: leave it out with --stores SQLite")
        tempfile.tempdir = str(folder)  # where the server makes its folder
        self._server = PostgresServer(binaries)
        self._server.start()
        self._made = 0

    @property
    def pid(self) -> int:
        """Process id of its postmaster; its children do the work."""
        return int((self._server.data / "postmaster.pid").read_text(encoding="ascii").split()[0])

    def fresh(self) -> str:
        """Address of a new, empty database; the one before goes."""
        import psycopg

        self._made += 1
        with psycopg.connect(self._server.address(), autocommit=True) as connection:
            connection.execute(f"drop database if exists bench{self._made - 1} with (force)")
            connection.execute(f"create database bench{self._made}")
            connection.execute("checkpoint")
        return f"{self._server.address().removesuffix('/postgres')}/bench{self._made}"

    def close(self) -> None:
        """Stop the server and remove its data."""
        self._server.close()


@contextmanager
def database(folder: Path, store: str) -> Iterator[str | Path]:
    """Where a new database of this kind is, as long as the block lasts."""
    if store == "PostgreSQL":
        server = Postgres(folder)
        try:
            yield server.fresh()
        finally:
            server.close()
        return
    own = folder / "database"
    own.mkdir()
    try:
        yield own / "aggregator.db"
    finally:
        shutil.rmtree(own)
