"""A whole deployment in a temporary folder: keys, signed policy, broker, aggregator, agent, as real processes.

Everything started here is ended here, by process id, also when a test fails.
"""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from discreet_agent.ask import ask
from discreet_agent.device import open_device
from discreet_agent.event import EventLine
from discreet_aggregator.store.reader import Reader
from discreet_contract.broker import Broker
from discreet_contract.clock import ManualClock
from discreet_contract.envelope import encode_key_id, unseal
from discreet_contract.errors import AgentUnreachableError
from discreet_contract.policy.bundle import make_bundle, read_bundle
from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.deliver import publish_retained
from discreet_contract.policy.log import PolicyLog
from discreet_contract.policy.obey import believe
from discreet_contract.policy.read import parse_policy_text
from discreet_contract.policy.release import sign_policy
from discreet_contract.wire import decode_report, reports_topic
from needs import need

MINUTE = 60
METRICS = ("opened", "side", "openings")
DISCREET = str(Path(sys.executable).with_name("discreet"))
KILL_AT = Path(__file__).parents[1] / "crash" / "kill_at.py"

POLICY = """
discreet: 1
fleet: crashers
version: 1
release: {{author: tests@example.org, reason: a policy for whole deployments}}
consent: managed
aggregator: {{keys: [{{id: test, public_key: "{public_key}", from: 2020-01-01, until: 2040-01-01}}]}}
budget: {{per_28_days: 100000, per_365_days: 100000, lifetime: 100000, exhaustible: "tests of minutes, not of years"}}
lateness: 0s
late_horizon: 1d
spread: 0s
receipt_buckets: 16
signals:
  door.opened:
    version: 1-0-0
    role: observation
    kind: outcome
    sensitivity: sensitive
    why: A door was opened, in tests
    owner: tests@example.org
    expires: 2039-01-01
    retention: 2d
    fields:
      seconds: {{type: number, min: 0, max: 100000, grid: 0.0625}}
      side: {{type: category, values: [left, right, planted-side-zyx]}}
metrics:
  opened: {{from: door.opened, per_device: any, type: binary, window: 1m, epsilon: 1.0, min_devices: {min_devices}, owner: a@b.c, why: tests}}
  side: {{from: door.opened, per_device: {{last: side}}, type: category, window: 1m, epsilon: 1.0, min_devices: {min_devices}, owner: a@b.c, why: tests}}
  openings: {{from: door.opened, per_device: count, type: count, bounds: [0, 10], window: 1m, epsilon: 1.0, min_devices: {min_devices}, owner: a@b.c, why: tests}}
"""  # noqa: E501 - one metric a line reads better

SHIPPED = Path(__file__).parents[2] / "deploy" / "server"
LISTENING_TESTER = "\nuser tester\ntopic read #\n"  # beside the shipped rules: sees everything, writes nothing


class Deployment:
    """Paths, keys and processes of one test."""

    def __init__(self, folder: Path, broker: str, *, database: str = "", batch: int = 50, min_devices: int = 1) -> None:
        self.folder = folder
        self.database = database  # PostgreSQL's address; empty: SQLite
        self.broker = broker
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen] = {}
        self._short = Path(tempfile.mkdtemp(prefix="dsc"))  # pytest's own paths are too long for a socket
        self.socket = self._short / "agent.sock"
        self.root, self.key = SigningKey.generate(), PrivateKey.generate()
        self._text = POLICY.format(public_key=self.key.public_key.encode().hex(), min_devices=min_devices)
        self.log = PolicyLog.open(folder / "releases")
        (folder / "policy.json").write_bytes(self.release())
        self.policy = believe(read_bundle((folder / "policy.json").read_bytes()), (self.root_hex,)).policy
        self._write_configurations(batch)

    @property
    def root_hex(self) -> str:
        """The pinned root."""
        return self.root.verify_key.encode().hex()

    @property
    def agent_toml(self) -> str:
        """The agent's configuration."""
        return str(self.folder / "agent.toml")

    @property
    def aggregator_toml(self) -> str:
        """The aggregator's configuration."""
        return str(self.folder / "aggregator.toml")

    def release(self, *edits: tuple[str, str]) -> bytes:
        """Append the next version to the log, as the operator would; returns what is delivered of it."""
        for old, new in edits:
            assert old in self._text
            self._text = self._text.replace(old, new)
        version = len(self.log.entries) + 1
        text = self._text.replace("version: 1\n", f"version: {version}\n", 1)
        signed = sign_policy(build_policy(parse_policy_text(text.encode(), "x")), [self.root])
        self.log = self.log.append(signed, [self.root], int(time.time() * 1000))
        return make_bundle(self.log)

    def deliver(self, *edits: tuple[str, str]) -> None:
        """Put the next version where the agent looks for its policy."""
        (self.folder / "policy.json").write_bytes(self.release(*edits))
        self.policy = believe(read_bundle((self.folder / "policy.json").read_bytes()), (self.root_hex,)).policy

    def release_text(self, text: str) -> bytes:
        """The same for another policy altogether, of version 1; its fleet is ours."""
        self._text = re.sub(r"(?m)^fleet: .*$", "fleet: crashers", text)
        return self.release()

    def sign_head_at(self, time_ms: float) -> None:
        """Deliver the same policy under a head that was signed at another time."""
        self.log = self.log.sign_anew([self.root], round(time_ms))
        (self.folder / "policy.json").write_bytes(make_bundle(self.log))

    def publish(self, content: bytes) -> None:
        """Make this the fleet's retained policy message, whatever it is."""
        publish_retained(self.account("operator"), "crashers", content)

    def account(self, name: str) -> Broker:
        """A client of the broker."""
        url = f"mqtt://127.0.0.1:{self.port}"
        return Broker(url=url, username=name, password_file=str(self.folder / "password"))

    def _write_configurations(self, batch: int) -> None:
        keys = self.folder / "keys"
        keys.mkdir(mode=0o700)
        (keys / "test.key").write_text(self.key.encode().hex())
        (keys / "test.key").chmod(0o600)
        (self.folder / "password").write_text("secret")
        broker = f'[broker]\nurl = "mqtt://127.0.0.1:{self.port}"\npassword_file = "{self.folder}/password"\n'
        Path(self.aggregator_toml).write_text(
            f'fleet = "crashers"\nstate_dir = "aggregator"\npolicies = ["releases"]\nroots = ["{self.root_hex}"]\n'
            f'keys_dir = "keys"\nbatch = {batch}\ndatabase = "{self.database}"\n{broker}username = "aggregator"\n'
        )
        Path(self.agent_toml).write_text(
            f'policy = "policy.json"\nroots = ["{self.root_hex}"]\nstate_dir = "agent"\nsocket = "{self.socket}"\n'
            f'resend_seconds = 0.5\n{broker}username = "device"\n'
        )

    def configure_agent(self, **settings) -> None:
        """Set keys at the top of agent.toml."""
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        path = Path(self.agent_toml)
        path.write_text(lines + path.read_text())

    # --- processes -------------------------------------------------------------------------

    def start_broker(self) -> None:
        """Start the broker, or start it again on its port."""
        if self.broker == "mosquitto":
            program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
            need(program is not None, "Mosquitto is not installed")
            self._write_mosquitto_configuration()
            self._start("broker", [program, "-c", str(self.folder / "mosquitto.conf")])
        else:
            self._start("broker", [DISCREET, "aggregator", "dev-broker", "--port", str(self.port)])
        self.wait_until(lambda: accepts(self.port), "the broker listens")

    def _write_mosquitto_configuration(self) -> None:
        """The shipped one, with its access rules, on another port and with its files here."""
        passwords = self.folder / "passwords"
        if passwords.exists():
            return
        passwords.touch(mode=0o600)
        for account in ("aggregator", "device", "operator", "tester"):
            subprocess.run(
                ["mosquitto_passwd", "-b", str(passwords), account, "secret"], check=True, capture_output=True
            )
        rules = self.folder / "rules.acl"
        rules.write_text((SHIPPED / "mosquitto.acl").read_text().replace("/flights/", "/crashers/") + LISTENING_TESTER)
        rules.chmod(0o600)
        text = (SHIPPED / "mosquitto.conf").read_text()
        for shipped, ours in (
            ("listener 1883 127.0.0.1", f"listener {self.port} 127.0.0.1"),
            ("password_file /etc/mosquitto/discreet.passwd", f"password_file {passwords}"),
            ("acl_file /etc/mosquitto/discreet.acl", f"acl_file {rules}"),
            ("persistence_location /var/lib/mosquitto/", f"persistence_location {self.folder}/"),
        ):
            assert shipped in text, f"the shipped mosquitto.conf no longer holds {shipped!r}"
            text = text.replace(shipped, ours)
        as_root = "user root\n" if os.geteuid() == 0 else ""  # or it could not read this folder
        (self.folder / "mosquitto.conf").write_text(as_root + text)

    def start_aggregator(self, *kill_at: str) -> subprocess.Popen:
        """Start the aggregator; `kill_at` as in `kill_at.py`."""
        return self._start_side("aggregator", ["aggregator", "run", "--config", self.aggregator_toml], kill_at)

    def start_agent(self, *kill_at: str) -> subprocess.Popen:
        """Start the agent's daemon; `kill_at` as in `kill_at.py`."""
        return self._start_side("agent", ["agent", "run", "--config", self.agent_toml], kill_at)

    def _start_side(self, name: str, arguments: list[str], kill_at: tuple[str, ...]) -> subprocess.Popen:
        entry = [sys.executable, str(KILL_AT), *kill_at, "--"] if kill_at else [DISCREET]
        return self._start(name, [*entry, *arguments])

    def _start(self, name: str, command: list[str]) -> subprocess.Popen:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.processes[name] = process
        return process

    def kill(self, name: str) -> None:
        """SIGKILL."""
        self.processes[name].kill()
        self.processes[name].wait()

    def kill_at(self, name: str, trigger: str, step: int) -> str:
        """Run a side until it kills itself there; returns what it was doing ("" where it never got that far)."""
        mark = self.folder / "mark"
        mark.unlink(missing_ok=True)
        start = self.start_agent if name == "agent" else self.start_aggregator
        process = start(trigger, str(step), str(mark))
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if process.poll() is None:
            self.kill(name)
            return ""
        assert process.returncode == -9
        return mark.read_text()

    def stop(self, name: str) -> int:
        """SIGTERM; returns the exit code."""
        self.processes[name].terminate()
        return self.processes[name].wait(20)

    def close(self) -> None:
        """End everything."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
        shutil.rmtree(self._short, ignore_errors=True)

    def wait_until(self, condition, what: str, seconds: float = 30.0) -> None:
        """Poll; a failure shows what it waited for and the logs' ends."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in self.folder.glob("*.log")
                )
                raise AssertionError(f"{what}: not within {seconds} s\n{logs}")
            time.sleep(0.05)

    # --- commands --------------------------------------------------------------------------

    def discreet(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess:
        """Run one command to its end."""
        return subprocess.run(
            [DISCREET, *arguments], capture_output=True, text=True, input=stdin, timeout=60, check=False
        )

    def status(self) -> dict:
        """What the running agent says of itself; nothing where none answers."""
        return json.loads(self.discreet("agent", "status", "--json", "--config", self.agent_toml).stdout or "{}")

    def asked(self) -> dict:
        """The same without the command: over the socket, from here."""
        try:
            return ask(self.socket, b'{"query": "status"}')
        except AgentUnreachableError:
            return {}

    # --- the device ------------------------------------------------------------------------

    def seed(self, windows: int, events_each: int = 3) -> list[int]:
        """Enrol the device `windows` minutes ago and record events in each; returns the window starts."""
        now = int(time.time())
        first = now - now % MINUTE - windows * MINUTE
        clock = ManualClock(first * 1000)
        with open_device(self.folder / "agent", self.policy, clock) as device:
            device.pipeline.close_windows()
            clock.ms = now * 1000
            for start in range(first, first + windows * MINUTE, MINUTE):
                lines = [event(start + number, id=f"{start}-{number}") for number in range(events_each)]
                assert device.pipeline.record(lines) == [None] * events_each
        return list(range(first, first + windows * MINUTE, MINUTE))

    def waiting(self) -> int:
        """Reports in the agent's outbox, read beside the running agent."""
        return int(self.query("agent/agent.db", "SELECT count(*) FROM outbox")[0][0])

    def made(self) -> int:
        """Reports that the agent has charged."""
        return int(self.query("agent/agent.db", "SELECT count(*) FROM ledger")[0][0])

    def query(self, database: str, sql: str) -> list[tuple]:
        """Read one of the databases without writing to it."""
        path = self.folder / database
        if not path.exists():
            return [(0,)]
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(sql).fetchall()

    def reader(self) -> Reader:
        """The aggregator's database."""
        return Reader(self.database or self.folder / "aggregator/aggregator.db")

    # --- what must be true at the end --------------------------------------------------------

    def check_exactly_once(self, windows: list[int]) -> None:
        """One charge, one report, one device in the sums for each (metric, window), and nothing else."""
        wanted = {(metric, start) for metric in METRICS for start in windows}
        with open_device(self.folder / "agent", self.policy, ManualClock(0)) as device:
            assert device.store.ledger.verify() >= len(wanted)
            charged = [(entry.metric, entry.window_start) for entry in device.store.ledger.entries()]
            settled = [(row["metric"], row["window_start"]) for row in device.store.outbox.history()]
        assert len(charged) == len(set(charged))
        assert sorted(settled) == sorted(charged)
        assert wanted <= set(charged)
        with self.reader() as reader:
            archived = list(reader.archived())
            cells = reader.cells()
            assert reader.seen_ids() == len(charged)
        ids = [ids[at : at + 16] for _, _, _, ids in archived for at in range(0, len(ids), 16)]
        assert len(ids) == len(set(ids)) == len(charged)
        assert sorted({(cell.metric, cell.window_start) for cell, _, _, _ in archived}) == sorted(charged)
        counted = {(one.cell.metric, one.cell.window_start): one.sums[0] for one in cells}
        assert counted == dict.fromkeys(charged, 1)

    def check_same_bytes(self, captured: list[bytes]) -> None:
        """Every copy of a report that ever left is the same, and every (metric, window) has one report id."""
        copies: dict[bytes, set[bytes]] = {}
        names: dict[tuple[str, int], set[bytes]] = {}
        for envelope in captured:
            report = decode_report(unseal(envelope, {encode_key_id("test"): self.key}))
            copies.setdefault(report.report_id, set()).add(envelope)
            names.setdefault((report.metric, report.window_start), set()).add(report.report_id)
        assert captured
        assert all(len(each) == 1 for each in copies.values())
        assert all(len(each) == 1 for each in names.values())


class Listener:
    """A real subscriber to a topic filter; keeps every (topic, payload), reconnects when the broker comes back."""

    def __init__(self, port: int, topics: str) -> None:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        self.heard: list[tuple[str, bytes]] = []
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.username_pw_set("tester", "secret")
        self._client.on_connect = lambda client, *_: client.subscribe(topics, qos=1)
        self._client.on_message = lambda _c, _u, message: self.heard.append((message.topic, bytes(message.payload)))
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def envelopes(self) -> list[bytes]:
        """What devices published."""
        return [payload for topic, payload in self.heard if topic == reports_topic("crashers")]


def event(at: float, **changes) -> EventLine:
    """One door opened."""
    line = {
        "signal": "door.opened",
        "version": "1-0-0",
        "time": round(at * 1000),
        "fields": {"seconds": 1, "side": "left"},
    }
    return EventLine(**(line | changes))


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
