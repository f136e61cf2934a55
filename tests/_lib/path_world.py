"""Two devices, a broker that does anything brokers do, two workers on one database: the real code of both sides.

Operations are tuples, so that a list of them can be written down, generated and shrunk. Clocks and the broker are
the test's own; stores, crypto, draws, ledgers and files are real. `check` says in prose what must hold after each list.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

from nacl.public import PrivateKey

from device_bench import AGGREGATOR, HOUR, ROOT, START, MachineClock, make_signed, opening
from discreet_agent.device import open_device
from discreet_agent.identity import read_identity
from discreet_agent.publish import Courier, read_receipts
from discreet_aggregator.pipeline import Pipeline
from discreet_aggregator.policies import PolicyShelf, grace_seconds
from discreet_aggregator.store.reader import Reader
from discreet_aggregator.store.seen import Bounds
from discreet_aggregator.store.store import Store
from discreet_contract.envelope import encode_key_id
from discreet_contract.errors import RetryableError
from discreet_contract.policy.release import verify_policy
from discreet_contract.resend import Resend, make_resend
from discreet_contract.wire import Verdict, decode_receipts, make_report_id, receipts_topic
from failing_database import Failing

FLEET = "testers"
SMALL = Bounds(young_ids=6, young_runs=3, tier_runs=2, full_ids=30)
SECOND_KEY = PrivateKey(bytes(31) + b"\3")
ONE_KEY = f'{{id: test, public_key: "{AGGREGATOR.public_key.encode().hex()}", from: 2020-01-01, until: 2030-01-01}}'
NEXT_KEY = f'{{id: next, public_key: "{SECOND_KEY.public_key.encode().hex()}", from: 2020-01-02, until: 2030-01-01}}'
TWO_KEYS = (f"keys: [{ONE_KEY}]", f"keys: [{ONE_KEY}, {NEXT_KEY}]")
_root = ROOT.verify_key.encode().hex()
POLICIES = [
    verify_policy(make_signed(spread="5m"), [_root]),
    verify_policy(make_signed(version=2, spread="5m", edits=(TWO_KEYS,)), [_root]),
    verify_policy(
        make_signed(version=3, spread="5m", edits=(TWO_KEYS, ("bounds: [0, 10]", "bounds: [0, 20]"))), [_root]
    ),
]
KEYS = [{encode_key_id("test"): AGGREGATOR}, {encode_key_id("test"): AGGREGATOR, encode_key_id("next"): SECOND_KEY}]
_DATABASE = ("agent.db", "agent.db-wal", "agent.db-shm")
_QUIET_ROUNDS = 250


class Killed(BaseException):
    """The process is gone; nothing of it runs on."""


class FaultyStep:
    """SQLite, at whose commits the process may end."""

    def __init__(self, connection, at_commit) -> None:
        self._connection, self._at_commit = connection, at_commit

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, *parameters):
        """With a word before and after each COMMIT."""
        if sql != "COMMIT":
            return self._connection.execute(sql, *parameters)
        self._at_commit(is_over=False)
        result = self._connection.execute(sql)
        self._at_commit(is_over=True)
        return result


class Broker:
    """Messages on their way. Nothing that it holds is safe."""

    def __init__(self) -> None:
        self.reports: list[bytes] = []
        self.captured: list[bytes] = []  # by somebody who sees the network
        self.listeners: dict[str, set[int]] = {}  # devices by topic
        self.inboxes: dict[int, list[bytes]] = {}

    def publish(self, topic: str, payload: bytes) -> None:
        """Receipts are not kept for who is away."""
        for device in self.listeners.get(topic, ()):
            self.inboxes.setdefault(device, []).append(payload)

    def forget(self, device: int) -> None:
        """A clean session ends with its connection."""
        self.inboxes.pop(device, None)
        for devices in self.listeners.values():
            devices.discard(device)

    def restart(self, *, keeps_queue: bool) -> None:
        """kill -9; sessions of devices are gone in any case."""
        if not keeps_queue:
            self.reports.clear()
        self.listeners.clear()
        self.inboxes.clear()


class SimulatedDevice:
    """One device as its daemon runs it, killed where a list says."""

    def __init__(self, number: int, folder: Path, world: World) -> None:
        self.number, self.folder, self.world = number, folder, world
        self.clock = MachineClock(true_ms=world.true_ms)
        self.policy = POLICIES[0]
        self.courier = Courier(60.0)
        self.backup = folder.with_name(f"backup{number}")
        self.was_restored = False
        self.commits_left: int | None = None  # until it is killed at one
        self.kill_late = False
        self.stack = ExitStack()
        self.start()

    def start(self) -> None:
        """Open the folder again."""
        self.stack.close()
        self.commits_left = None
        self.world.broker.forget(self.number)
        self.device = self.stack.enter_context(open_device(self.folder, self.policy, self.clock))
        self.device.store._connection = FaultyStep(self.device.store.connection, self.at_commit)
        identity = read_identity(self.folder)
        assert identity is not None
        self.secret = identity.secret

    def at_commit(self, *, is_over: bool) -> None:
        """Called before and after each COMMIT."""
        if self.commits_left is None or is_over is not self.kill_late:
            return
        self.commits_left -= 1
        if self.commits_left < 0:
            raise Killed

    def listen(self, bucket: str) -> None:
        """See `publish.Link`."""
        self.world.broker.listeners.setdefault(receipts_topic(FLEET, bucket), set()).add(self.number)

    def publish(self, envelope: bytes, _expires_in_seconds: int | None) -> bool:
        """See `publish.Link`."""
        self.world.sees(envelope)
        return True

    def record(self) -> None:
        """An event, now."""
        with suppress(RetryableError):
            self.device.pipeline.record([opening(self.clock.now_ms() / 1000)])

    def tick(self) -> None:
        """What the daemon does in a second."""
        pipeline = self.device.pipeline
        pipeline.hear_time(self.world.true_ms)
        if self.world.request is not None:
            pipeline.hear_resend(self.world.request)
        pipeline.resend()
        pipeline.close_windows()
        handed = self.courier.send(pipeline.publishable(100), self, self.clock.now_ms())
        pipeline.note_sent(handed)
        pipeline.forget()

    def answer(self, messages: list[bytes]) -> None:
        """Receipts arrive."""
        for message in messages:
            self.device.pipeline.settle(read_receipts(message))

    def guarded(self, act) -> None:
        """Do it, up to the kill if one is due."""
        try:
            act()
        except RetryableError:
            return
        except Killed:
            self.start()
        self.commits_left = None


class World:
    """Everything, and everything that can happen to it."""

    def __init__(self, folder: Path, templates: Path, *, where: str = "") -> None:
        self.true_ms = START * 1000
        self.broker = Broker()
        self.where = where or str(folder / "server" / "aggregator.db")
        shutil.copytree(templates, folder, dirs_exist_ok=True)
        if where:
            with Store(where):
                pass  # as the template has it: an aggregator was there before the first list
        self.devices = [SimulatedDevice(number, folder / f"device{number}", self) for number in (0, 1)]
        self.offsets = [0, 0]  # of the workers' clocks
        self.loaded = [(1, 0), (1, 0)]  # how many policies, and which keys, each worker has
        self.stores: list[Store | None] = [None, None]
        self.failing: list[Failing] = [self.database(), self.database()]
        self.verdicts: dict[bytes, set[int]] = {}
        self.request: bytes | None = None  # to send again, retained by the broker
        self.was_restored = False
        self.latest_ms = self.true_ms  # that any clock ever said
        self.steps = Counter[str]()

    def database(self) -> Failing:
        """A worker's way to the database."""
        return Failing(self.where, Killed)

    # --- operations --------------------------------------------------------------------------

    def do(self, operation: tuple) -> None:
        """One of the list."""
        name, *arguments = operation
        self.steps[name] += 1
        getattr(self, f"do_{name}")(*arguments)

    def do_event(self, device: int) -> None:
        self.devices[device].record()

    def do_wait(self, minutes: int) -> None:
        self.true_ms += minutes * 60_000
        for device in self.devices:
            device.clock.true_ms = self.true_ms
        self.latest_ms = max(self.latest_ms, self.true_ms)

    def do_tick(self, device: int, kill_at: int | None, late: bool) -> None:
        one = self.devices[device]
        one.commits_left, one.kill_late = kill_at, late
        one.guarded(one.tick)

    def do_answer(self, device: int, how: str, kill_at: int | None) -> None:
        """Receipts reach a device, or do not, or twice."""
        one = self.devices[device]
        messages = self.broker.inboxes.pop(device, [])
        if how == "lost":
            return
        one.commits_left, one.kill_late = kill_at, False
        one.guarded(lambda: one.answer(messages * (2 if how == "twice" else 1)))

    def do_kill(self, device: int) -> None:
        self.devices[device].start()

    def do_deliver(self, worker: int, most: int, fail_at: int | None, late: bool, receipts: int | None) -> None:
        """A worker takes messages; killed at some statement, or after some receipts, it acknowledges nothing."""
        taken, rest = self.broker.reports[:most], self.broker.reports[most:]
        messages = self.work(worker, taken, fail_at, late=late)
        if messages is None:
            return
        for message in messages[:receipts]:
            for receipt in decode_receipts(message.payload):
                self.verdicts.setdefault(receipt.report_id, set()).add(receipt.verdict)
            self.broker.publish(message.topic, message.payload)
        if receipts is None:
            self.broker.reports = rest
        else:
            self.stop(worker)

    def work(self, worker: int, envelopes: list[bytes], fail_at: int | None, *, late: bool):
        """Receipts messages of one batch; None where the worker was killed first."""
        failing = self.failing[worker]
        failing.calls, failing.fail_at, failing.late = 0, fail_at, late
        try:
            pipeline = self.pipeline(worker)
            messages = pipeline.process(envelopes)
            pipeline.tend()
        except Killed:
            self.stop(worker)
            return None
        finally:
            failing.fail_at = None
        return messages

    def pipeline(self, worker: int) -> Pipeline:
        """A worker at work, with the policies and keys that it has."""
        store = self.stores[worker]
        if store is None:
            store = self.stores[worker] = Store(self.failing[worker], bounds=SMALL).__enter__()
        policies, keys = self.loaded[worker]
        now_ms = self.true_ms + self.offsets[worker]
        self.latest_ms = max(self.latest_ms, now_ms)
        return Pipeline(store, PolicyShelf(POLICIES[:policies]), KEYS[keys], MachineClock(true_ms=now_ms), FLEET)

    def stop(self, worker: int) -> None:
        """As after SIGKILL: what was not committed is undone."""
        store, self.stores[worker] = self.stores[worker], None
        if store is not None:
            store.close()

    def do_drop(self, place: int) -> None:
        if self.broker.reports:
            self.broker.reports.pop(place % len(self.broker.reports))

    def do_duplicate(self, place: int) -> None:
        if self.broker.reports:
            self.broker.reports.append(self.broker.reports[place % len(self.broker.reports)])

    def do_reverse(self) -> None:
        self.broker.reports.reverse()

    def do_replay(self, place: int) -> None:
        """Somebody publishes what he saw, at any later time."""
        if self.broker.captured:
            self.broker.reports.append(self.broker.captured[place % len(self.broker.captured)])

    def do_forge(self, place: int) -> None:
        """Garbage, a changed envelope, and a receipt that nobody may have written."""
        self.broker.reports.append(b"dsc1 garbage")
        if self.broker.captured:
            envelope = bytearray(self.broker.captured[place % len(self.broker.captured)])
            envelope[60 + place % 100] ^= 1
            self.broker.reports.append(bytes(envelope))
        for device in self.devices:
            for row in device.device.store.outbox.due(2**62, 5):
                receipt = b"\x91\x93\xc4\x10" + row.report_id + b"\x00\xc4\x10" + bytes(16)
                self.broker.inboxes.setdefault(device.number, []).append(receipt)

    def do_broker(self, keeps_queue: bool) -> None:
        self.broker.restart(keeps_queue=keeps_queue)

    def do_load(self, worker: int, policies: int, keys: int) -> None:
        """A worker is given policies and keys; it forgets none."""
        had = self.loaded[worker]
        self.loaded[worker] = (max(had[0], policies), max(had[1], keys))

    def do_policy(self, device: int, version: int) -> None:
        one = self.devices[device]
        if POLICIES[version].policy.version > one.policy.policy.version:
            one.policy = POLICIES[version]
            one.guarded(lambda: one.device.pipeline.adopt(POLICIES[version]))

    def do_worker_clock(self, worker: int, minutes: int) -> None:
        self.offsets[worker] = minutes * 60_000

    def do_device_clock(self, device: int, minutes: int) -> None:
        one = self.devices[device]
        one.clock.set_wall(minutes * 60)
        self.latest_ms = max(self.latest_ms, one.clock.now_ms())

    def do_backup(self, device: int) -> None:
        """A copy of the database, made at rest."""
        one = self.devices[device]
        one.start()
        shutil.rmtree(one.backup, ignore_errors=True)
        with sqlite3.connect(one.folder / "agent.db") as connection:
            connection.execute("pragma wal_checkpoint(truncate)")
        connection.close()
        one.backup.mkdir()
        for name in _DATABASE:
            if (one.folder / name).exists():
                shutil.copy(one.folder / name, one.backup / name)

    def do_restore(self, device: int) -> None:
        """The copy is put back, the head stays the newest: releases stop where the copy is older."""
        one = self.devices[device]
        if not one.backup.exists():
            return
        one.stack.close()
        for name in _DATABASE:
            (one.folder / name).unlink(missing_ok=True)
            if (one.backup / name).exists():
                shutil.copy(one.backup / name, one.folder / name)
        one.was_restored = True
        one.start()

    def do_server_backup(self) -> None:
        """A copy of the aggregator's database, at rest."""
        self.stop_all()
        if Path(self.where).exists():
            with sqlite3.connect(self.where) as connection:
                connection.execute("pragma wal_checkpoint(truncate)")
            connection.close()
            shutil.copy(self.where, self.where + ".backup")

    def do_server_restore(self) -> None:
        """The copy is put back: what was counted since is forgotten."""
        backup = Path(self.where + ".backup")
        if not backup.exists():
            return
        self.stop_all()
        for end in ("-wal", "-shm"):
            Path(self.where + end).unlink(missing_ok=True)
        shutil.copy(backup, self.where)
        self.was_restored = True

    def stop_all(self) -> None:
        """Both workers are away."""
        for worker in (0, 1):
            self.stop(worker)

    def do_resend(self) -> None:
        """The operator asks for all windows again."""
        asked = Resend(self.true_ms, START - HOUR, "restored, or not")
        self.request = make_resend(FLEET, asked, "test", AGGREGATOR)

    def sees(self, envelope: bytes) -> None:
        """An envelope leaves a device."""
        self.broker.reports.append(envelope)
        self.broker.captured.append(envelope)

    # --- at the end --------------------------------------------------------------------------

    def come_to_rest(self) -> None:
        """No more faults: everything is loaded, clocks are right, time passes, messages arrive."""
        self.offsets = [0, 0]
        for device in self.devices:
            device.clock.set_wall(0)
        for worker in (0, 1):
            self.do_load(worker, len(POLICIES), len(KEYS) - 1)
        if self.was_restored:
            self.do_resend()
        for round_number in range(_QUIET_ROUNDS):
            self.do_wait(11)
            for device in self.devices:
                self.do_tick(device.number, None, late=False)
            self.do_deliver(round_number % 2, 10_000, None, late=False, receipts=None)
            for device in self.devices:
                self.do_answer(device.number, "once", None)
            if round_number > 4 and not any(self.waits(device) for device in self.devices):
                return
        assert False, "reports wait for ever"  # noqa: B011, PT015 - said plainly

    def waits(self, device: SimulatedDevice) -> bool:
        """Whether something is left to be answered; a device whose releases stopped sends nothing any more."""
        return device.device.pipeline.halted is None and device.device.store.outbox.waiting() > 0

    def close(self) -> None:
        for device in self.devices:
            device.stack.close()
        self.stop_all()

    def check(self, *, at_rest: bool = False) -> None:
        """Nothing twice, nothing lost, nothing changed. A restored aggregator has lost, until it has asked again."""
        with Reader(self.where) as reader:
            blocks = list(reader.archived())
            cells = {one.cell: one.sums[0] for one in reader.cells()}
            accepted = sum(reader.accepted().values())
        counted = [ids[at : at + 16] for _, _, _, ids in blocks for at in range(0, len(ids), 16)]
        assert len(counted) == len(set(counted)), "a report counts twice"
        assert sum(cells.values()) == accepted == len(counted), "sums and archive differ"
        per_cell = Counter[object]()
        for cell, _, _, ids in blocks:
            per_cell[cell] += len(ids) // 16
        assert per_cell == {cell: count for cell, count in cells.items() if count}, "a cell's sum is not its archive's"
        charged = {key: start for device in self.devices for key, start in self.charges(device).items()}
        for report_id, verdicts in self.verdicts.items() if not self.was_restored else ():
            told = verdicts - {Verdict.WINDOW_TOO_LATE} if self.is_late(charged[report_id]) else verdicts
            assert len(told) <= 1, "one report got two verdicts"  # but for one that came again past its horizon
        assert set(counted) <= charged.keys(), "a report counts that no device was charged for"
        assert len(set(self.broker.captured)) <= len(charged), "one charge left as two different envelopes"
        for device in self.devices if at_rest or not self.was_restored else ():
            self.check_device(device, set(counted))

    def is_late(self, window_start: int) -> bool:
        """Whether any clock ever said that a window's horizon has passed."""
        return self.latest_ms > (window_start + HOUR + grace_seconds(POLICIES[0].policy)) * 1000

    def charges(self, device: SimulatedDevice) -> dict[bytes, int]:
        """Windows that the ledger was charged for, by report id; those that a restored one forgot with them."""
        charged = [(entry.metric, entry.window_start) for entry in device.device.store.ledger.entries()]
        assert len(charged) == len(set(charged)), "one window was charged twice"
        if device.was_restored:
            starts = range(START - 2 * HOUR, self.latest_ms // 1000 + HOUR, HOUR)
            charged = [(name, start) for name in ("opened", "side", "openings") for start in starts]
        return {make_report_id(device.secret, FLEET, name, start): start for name, start in charged}

    def check_device(self, device: SimulatedDevice, counted: set[bytes]) -> None:
        if device.was_restored:  # what its older copy forgot cannot be asked of it
            return
        rows = {row["report_id"]: row for row in device.device.store.outbox.history()}
        for entry in device.device.store.ledger.entries():
            report_id = make_report_id(device.secret, FLEET, entry.metric, entry.window_start)
            row = rows.get(report_id)
            is_late = self.is_late(entry.window_start)
            if report_id in counted:
                may_be_told = {None, Verdict.ACCEPTED} | ({Verdict.WINDOW_TOO_LATE} if is_late else set())
                assert row is None or row["verdict"] in may_be_told, "counted, and the device told otherwise"
            elif row is not None and row["verdict"] == Verdict.ACCEPTED:
                assert self.was_restored, "acknowledged, and lost"
                assert is_late, "asked for again within its horizon, and lost"
            elif row is None or row["state"] != "WAITING":
                assert is_late, "lost within its horizon"
