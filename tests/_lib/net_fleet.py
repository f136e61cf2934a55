"""A fleet of real processes in network namespaces: devices in two places, a broker at the hub, workers elsewhere.

Every device has its own folder and `discreet agent run`; they reach the broker straight or over
`bad_line.py`. Each device's cap is a little below what its windows would cost, so that a run has an end
that is known: when every ledger is full and every outbox is empty.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deployment import DISCREET, METRICS, MINUTE, Deployment, event
from discreet_agent.device import open_device
from discreet_aggregator.store.reader import Reader
from discreet_contract.clock import ManualClock
from exactly import Charged, differences, read_charges, read_counted
from netns import PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from netns import Network

PLACES = ("east", "west", "servers")
BAD_PORT = PORT + 1
BAD_LINE = Path(__file__).with_name("bad_line.py")
WORKERS = 2
WINDOWS = 8
REFUSED = 4  # of each device's reports the cap takes no more
REPORTS = WINDOWS * len(METRICS) - REFUSED  # of each device; ε = 1 each
NANO = 1_000_000_000
PATIENCE_SECONDS = 120


class NetFleet(Deployment):
    """A deployment of many devices, spread over namespaces. `line` is PORT or BAD_PORT.

    A device's reports leave one after another, over `spread` seconds.
    """

    def __init__(
        self, folder: Path, network: Network, *, devices: int, database: str = "", line: int = PORT, spread: int = 18
    ) -> None:
        super().__init__(folder, "mosquitto", database=database)
        self.port = PORT
        self.network = network
        self.line = line
        self._configure_aggregator()
        self.deliver(
            ("spread: 0s", f"spread: {spread}s"),
            ("per_28_days: 100000", f"per_28_days: {REPORTS}"),
        )
        self.devices = {f"device{number}": PLACES[number % 2] for number in range(devices)}
        for name in self.devices:
            self._configure_device(name)

    def _configure_aggregator(self) -> None:
        path = Path(self.aggregator_toml)
        text = re.sub(r'url = "[^"]*"', self._url("servers", PORT), path.read_text())
        path.write_text(f"workers = {WORKERS}\n{text}")

    def _configure_device(self, name: str) -> None:
        folder = self.folder / name
        folder.mkdir()
        (folder / "agent.toml").write_text(
            f'policy = "../policy.json"\nroots = ["{self.root_hex}"]\nstate_dir = "state"\n'
            f'socket = "{self._short}/{name}"\nresend_seconds = 1.0\n'
            f"[broker]\n{self._url(self.devices[name], self.line)}\n"
            f'password_file = "{self.folder}/password"\nusername = "device"\nreconnect_seconds = 0.5\n'
        )

    def _url(self, place: str, port: int) -> str:
        return f'url = "mqtt://{self.network.hub_address(place)}:{port}"\nallow_plaintext = true'

    # --- processes -------------------------------------------------------------------------

    def start_broker(self) -> None:
        """The shipped configuration, listening on every address of the hub and of nothing else."""
        self._write_mosquitto_configuration()
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(
            configuration.read_text().replace(f"listener {PORT} 127.0.0.1", f"listener {PORT} 0.0.0.0")
        )
        self._begin("broker", "hub", ["mosquitto", "-c", str(configuration)])

    def save_broker(self) -> None:
        """Have its persistence written now, as its timer would."""
        self.processes["broker"].send_signal(signal.SIGUSR1)

    def forget_broker(self) -> None:
        """As if its disk were gone: sessions, queues and retained messages."""
        (self.folder / "mosquitto.db").unlink(missing_ok=True)

    def start_bad_line(self) -> None:
        """The proxy, between all devices and the broker."""
        command = self.network.inside("hub", [sys.executable, str(BAD_LINE), str(BAD_PORT), str(PORT)])
        with (self.folder / "line.log").open("ab") as log:
            self.processes["line"] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True)

    def tell_line(self, **faults: float) -> None:
        """What is wrong with it from now on; nothing: a healthy one."""
        self.processes["line"].stdin.write(json.dumps(faults) + "\n")
        self.processes["line"].stdin.flush()

    def line_did(self) -> dict[str, int]:
        """What the line says that it did, up to the latest word to it."""
        lines = (self.folder / "line.log").read_text().splitlines()
        return json.loads(lines[-1]) if lines else {}

    def start_servers(self) -> None:
        """`discreet aggregator run` with its workers."""
        self._begin("aggregator", "servers", [DISCREET, "aggregator", "run", "--config", self.aggregator_toml])

    def start_device(self, name: str) -> None:
        """One device's agent, in its place."""
        command = [DISCREET, "agent", "run", "--config", str(self.folder / name / "agent.toml")]
        self._begin(name, self.devices[name], command)

    def workers(self) -> list[int]:
        """Process ids of the aggregator's workers that run now."""
        parent = self.processes["aggregator"].pid
        with suppress(FileNotFoundError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            return [int(child) for child in children]
        return []

    def kill_worker(self, pid: int) -> None:
        """SIGKILL; whoever looks after it starts another."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End everything, workers too."""
        workers = self.workers() if "aggregator" in self.processes else []
        super().close()
        if "line" in self.processes:
            self.processes["line"].stdin.close()
        for pid in workers:
            self.kill_worker(pid)

    def _begin(self, name: str, place: str, command: list[str]) -> None:
        self._start(name, self.network.inside(place, command))

    # --- devices ---------------------------------------------------------------------------

    def seed_devices(self) -> None:
        """Every device enrolled WINDOWS minutes ago, with one event in each; nobody runs yet."""
        now = int(time.time())
        first = now - now % MINUTE - WINDOWS * MINUTE
        for name in self.devices:
            clock = ManualClock(first * 1000)
            with open_device(self.folder / name / "state", self.policy, clock) as device:
                device.pipeline.close_windows()
                clock.ms = now * 1000
                events = [event(first + number * MINUTE, id=f"{number}") for number in range(WINDOWS)]
                assert device.pipeline.record(events) == [None] * WINDOWS

    def counts(self, name: str) -> tuple[int, int]:
        """Reports that a device has charged, and how many of them wait."""
        made, waiting = "SELECT count(*) FROM ledger", "SELECT count(*) FROM outbox"
        database = f"{name}/state/agent.db"
        with suppress(sqlite3.OperationalError):  # it is being opened for the first time, or brought up to date
            return self.query(database, made)[0][0], self.query(database, waiting)[0][0]
        return 0, 0

    def made_in_all(self) -> int:
        """Reports that all devices have charged."""
        return sum(self.counts(name)[0] for name in self.devices)

    def settled(self) -> int:
        """Reports that all devices have charged and wait for no more."""
        return sum(made - waiting for made, waiting in map(self.counts, self.devices))

    # --- the end ---------------------------------------------------------------------------

    def finish(self) -> list[Charged]:
        """Wait until everything is made and settled, end the devices, hold both sides together; returns the charges."""
        wanted = REPORTS * len(self.devices)
        self.wait(lambda: self.settled() == wanted, lambda: f"{self.settled()} of {wanted} reports settled")
        for name in self.devices:
            self.processes[name].terminate()
        for name in self.devices:
            code = self.processes[name].wait(PATIENCE_SECONDS)
            assert code in {0, -signal.SIGTERM}, self.said(name)  # the signal itself ends one that still starts
        charges = self.charges()
        with self.reader() as reader:
            counted = read_counted(reader)
        assert differences(charges, counted, self.policy, REPORTS * NANO) == []
        assert len(charges) == wanted
        return charges

    def charges(self) -> list[Charged]:
        """Of all devices."""
        return [charge for name in self.devices for charge in read_charges(self.folder / name / "state", "crashers")]

    def reader(self) -> Reader:
        """The aggregator's database."""
        return Reader(self.database or self.folder / "aggregator/aggregator.db")

    def wait(self, condition: Callable[[], bool], says: Callable[[], str]) -> None:
        """Poll for long; a failure says what is missing, and the ends of the logs."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"{name}: {self.said(name)}" for name in ("aggregator", "broker", *self.devices))
                raise AssertionError(f"{says()} after {PATIENCE_SECONDS} s\n{logs}")
            time.sleep(0.2)

    def said(self, name: str) -> str:
        """The end of what one of the processes wrote."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else "none"
