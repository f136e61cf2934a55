"""Devices under a thousand kills, clock jumps, reboots, failing disks and restored databases: no cap is ever passed.

Each case is a list of operations drawn from a seed over one real device (files, SQLite, OpenDP),
its wall clock, its power and its disk. Outside of the device stands a notary who knows true time
and has seen every report that left. After each operation the notary checks in prose what must hold.
"""

import shutil
import sqlite3
from collections import defaultdict

import numpy as np
import pytest

from device_bench import START, Bench, MachineClock, make_policy
from discreet_agent.store.head import HEAD
from discreet_contract.accounting import NANO
from discreet_contract.errors import RetryableError
from discreet_contract.proven_time import SLACK_MS

DAY = 86_400
WINDOW = 7 * DAY
CAP_28, CAP_365 = 7, 40
# One metric and one of two that take turns ask for 8 in any 28 days, 105 in any 365: every cap refuses.
EDITS = (
    ("window: 1h", "window: 7d"),
    ("per_365_days: 1000", f"per_365_days: {CAP_365}"),
    ("late_horizon: 1d", "late_horizon: 35d"),
    ("expires: 2030-01-01", "expires: 2060-01-01"),
    ("  opened: {from: door.opened,", "  opened: {from: door.opened, rotate: doors,"),
    ("  openings: {from: door.opened,", "  openings: {from: door.opened, rotate: doors,"),
)
KILL_POINTS = ("BEFORE_COMMIT", "AFTER_COMMIT", "BEFORE_HEAD", "AFTER_HEAD")
DATABASE = ("agent.db", "agent.db-wal", "agent.db-shm")


class Killed(BaseException):
    """The process is gone; nothing of it runs on."""


class Notary:
    """Knows true time; sees what leaves."""

    def __init__(self, clock, lifetime):
        self.clock = clock
        self.lifetime = lifetime
        self.left: dict[tuple[str, int], bytes] = {}  # (metric, window) → the one envelope that ever left

    def receive(self, rows):
        """Whatever is published."""
        for row in rows:
            key = (row.metric, row.window_start)
            assert self.left.setdefault(key, row.envelope) == row.envelope, f"{key} was drawn twice"
            ends_ms = (row.window_start + WINDOW) * 1000
            assert ends_ms <= self.clock.true_ms + SLACK_MS, f"{key} left before its time"

    def check(self, entries):
        """Over every span of windows, and over every span of real time."""
        charged = [(entry.window_start, entry.nano) for entry in entries]
        assert len({(entry.metric, entry.window_start) for entry in entries}) == len(entries)
        self.check_caps(charged)
        self.check_caps([(start, NANO) for _, start in self.left])  # what left, whatever the ledger says
        ahead = sum(nano for start, nano in charged if (start + WINDOW) * 1000 > self.clock.true_ms)
        assert ahead <= CAP_28 * NANO, "more than one cap's worth is charged before its time"

    def check_caps(self, charged):
        """No span [t, t + length) of window starts holds more than its cap."""
        sums = defaultdict(int)
        for start, nano in charged:
            sums[start] += nano
        for length, cap in ((28 * DAY, CAP_28), (365 * DAY, CAP_365), (10**12, self.lifetime)):
            for left in sums:
                held = sum(nano for start, nano in sums.items() if left <= start < left + length)
                assert held <= cap * NANO, f"{held} in {length} seconds from {left}"


class FaultyConnection:
    """SQLite, whose commits may be the last thing a process does, or may not be what they say."""

    def __init__(self, connection, rig):
        self._connection, self._rig = connection, rig

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, *parameters):
        """With the rig's faults around each COMMIT."""
        if sql != "COMMIT":
            return self._connection.execute(sql, *parameters)
        self._rig.step("BEFORE_COMMIT")
        fault, self._rig.commit_fault = self._rig.commit_fault, None
        if fault != "lost":
            self._connection.execute(sql)
        if fault is not None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return self._rig.step("AFTER_COMMIT")


class FaultyKeeper:
    """The keeper of the head, before and after whose work a process may end."""

    def __init__(self, keeper, rig):
        self._keeper, self._rig = keeper, rig

    @property
    def halted(self):
        """As it is."""
        return self._keeper.halted

    def follow(self):
        """With the rig's faults."""
        self._rig.step("BEFORE_HEAD")
        may = self._keeper.follow()
        self._rig.step("AFTER_HEAD")
        return may


def copy_database(source, target):
    """As a backup would, the device at rest."""
    for name in DATABASE:
        (target / name).unlink(missing_ok=True)
        if (source / name).exists():
            shutil.copy(source / name, target / name)


class Rig:
    """One device that can be killed at every durable step, and everything that can be done to it."""

    def __init__(self, folder, seed):
        self.chance = np.random.default_rng(seed)
        lifetime = self.pick([60, 400])
        edits = (*EDITS, ("lifetime: 1000", f"lifetime: {lifetime}"))
        self.clock = MachineClock()
        self.bench = Bench(folder / "state", self.clock, make_policy(cap=CAP_28, until="2090-01-01", edits=edits))
        self.backup, self.newest = folder / "backup", folder / "newest"
        self.notary = Notary(self.clock, lifetime)
        self.signed_ms = START * 1000
        self.kill_at = None  # (point, how many of them to pass first)
        self.commit_fault = None  # "kept" or "lost"
        self.kills = self.jumps = self.noticed = 0
        self.start()

    # --- the device, as the daemon runs it --------------------------------------------------

    def start(self):
        """Open the device, with this rig's faults in it."""
        self.device = self.bench.open()
        self.device.store._connection = FaultyConnection(self.device.store.connection, self)
        pipeline = self.device.pipeline
        pipeline._closing._head = pipeline._sending._head = FaultyKeeper(pipeline._closing._head, self)
        pipeline.learn_signed_time(self.signed_ms)

    def tick(self):
        """What the daemon does in a second; killed where `kill_at` says."""
        try:
            self.device.pipeline.close_windows()
            self.notary.receive(self.device.pipeline.publishable(1000))
            self.device.pipeline.forget()
        except RetryableError:
            return
        except Killed:
            self.kills += 1
            self.restart()

    def restart(self):
        """As after SIGKILL: what was not committed is gone, what was is there."""
        self.kill_at = None
        self.bench.close()
        self.start()

    def step(self, point):
        """Called at each durable step."""
        if self.kill_at and self.kill_at[0] == point:
            passed = self.kill_at[1]
            self.kill_at = (point, passed - 1)
            if passed == 0:
                raise Killed(point)

    def pick(self, options):
        """One of them, by the seed."""
        return options[int(self.chance.integers(len(options)))]

    # --- what happens ----------------------------------------------------------------------

    def wait(self):
        self.clock.wait(self.pick([60, 3600, DAY, 3 * DAY, 8 * DAY, 20 * DAY]))

    def kill(self):
        """Some windows later, at one of the durable steps."""
        self.clock.wait(self.pick([DAY, 8 * DAY]))
        self.kill_at = (self.pick(KILL_POINTS), int(self.chance.integers(4)))
        self.tick()
        if self.kill_at is not None:  # it never got that far: killed while it slept
            self.kills += 1
            self.restart()

    def jump(self):
        self.jumps += 1
        self.clock.set_wall(self.pick([-365, -30, -1, 0, 0, 1, 20, 27, 29, 365]) * DAY)

    def walk(self):
        """Forward 28 days at a time."""
        for _ in range(int(self.chance.integers(1, 6))):
            self.jumps += 1
            self.clock.wrong_ms += 28 * DAY * 1000
            self.clock.wait(60)
            self.tick()
            if self.chance.random() < 0.5:
                self.clock.reboot()
                self.restart()

    def mend(self):
        self.clock.set_wall(0)

    def reboot(self):
        self.clock.reboot(self.pick([0, 3600, 10 * DAY, 60 * DAY]))
        self.restart()

    def sign(self):
        """The operator signs the head anew; the device hears of it days later."""
        self.signed_ms = max(self.signed_ms, self.clock.true_ms - int(self.chance.integers(10)) * DAY * 1000)
        self.device.pipeline.learn_signed_time(self.signed_ms)

    def fail(self):
        """A commit says that it failed, and did or did not; the daemon tries again."""
        self.clock.wait(8 * DAY)
        self.commit_fault = self.pick(["kept", "lost"])
        self.tick()
        self.commit_fault = None
        self.tick()

    def lose_head_write(self):
        """The disk has no room for the head."""
        blocker = self.bench.folder / f"{HEAD}.new"
        blocker.mkdir()
        self.clock.wait(8 * DAY)
        self.tick()
        blocker.rmdir()

    def back_up(self):
        self.bench.close()
        self.backup.mkdir(exist_ok=True)
        copy_database(self.bench.folder, self.backup)
        self.start()

    def put_back(self):
        """The database of the last backup, or none, or no head: noticed, until the newest files are back."""
        charges = self.device.store.ledger.head().sequence
        how = self.pick(["older", "lost", "no head"])
        self.bench.close()
        shutil.copytree(self.bench.folder, self.newest)
        if how == "no head":
            (self.bench.folder / HEAD).unlink()
        else:
            copy_database(self.backup if how == "older" else self.bench.folder / "nothing", self.bench.folder)
        self.start()
        is_older = how == "no head" or self.device.store.ledger.head().sequence < charges
        left = dict(self.notary.left)
        for _ in range(3):
            self.clock.wait(9 * DAY)
            self.tick()
        if not is_older:  # put back before anything was charged since
            shutil.rmtree(self.newest)
            return
        self.noticed += 1
        assert self.device.pipeline.halted.reason.is_final
        assert self.notary.left == left
        self.bench.close()
        shutil.rmtree(self.bench.folder)
        self.newest.rename(self.bench.folder)
        self.start()

    def check(self):
        """What the notary says, and the device's own chain."""
        if self.device.pipeline.halted is None or not self.device.pipeline.halted.reason.is_final:
            self.device.store.ledger.verify()
            self.notary.check(list(self.device.store.ledger.entries()))


OPERATIONS = [
    *[Rig.wait] * 6,
    *[Rig.kill] * 14,
    *[Rig.jump] * 4,
    *[Rig.walk] * 2,
    *[Rig.mend] * 5,
    *[Rig.reboot] * 2,
    *[Rig.sign] * 5,
    *[Rig.fail] * 1,
    *[Rig.lose_head_write] * 1,
    *[Rig.back_up] * 1,
    *[Rig.put_back] * 1,
]


@pytest.mark.parametrize("seed", range(8))
def test_no_cap_is_passed_whatever_happens(tmp_path, seed):
    """125 kills and as many other misfortunes a seed: a thousand in all. No window is charged or drawn twice."""
    rig = Rig(tmp_path, seed)
    rig.tick()
    rig.back_up()
    while rig.kills < 125:
        rig.pick(OPERATIONS)(rig)
        rig.tick()
        rig.check()
    rig.mend()
    rig.signed_ms = rig.clock.true_ms
    rig.device.pipeline.learn_signed_time(rig.signed_ms)
    rig.tick()
    rig.check()

    assert rig.device.pipeline.halted is None
    assert rig.jumps >= 30
    assert rig.noticed >= 1
    assert len(rig.notary.left) >= 30
    assert rig.device.store.counters()["releases_refused"]
    rig.bench.close()
