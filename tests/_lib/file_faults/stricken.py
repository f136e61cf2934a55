"""A device's life in one process whose file operations are made to fail: stricken.py, with the library preloaded.

Reads one JSON line a life: the folder, the kind of fault and at which operation it strikes; forks, lives it in the
child, and answers how it ended. What was acknowledged goes to a file beside the folder, as a sender would keep it.
"""

import ctypes
import json
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

from device_bench import START, make_policy, opening
from discreet_agent.device import open_device
from discreet_contract.clock import ManualClock
from discreet_contract.errors import DiscreetError, RetryableError
from discreet_contract.wire import Receipt, receipt_tag

DAY = 86_400
KINDS = ("EIO", "FULL", "SHORT", "KILL", "TORN", "POWER", "SOME")
LAMP = """signals:
  lamp.lit:
    version: 1-0-0
    role: observation
    kind: outcome
    sensitivity: technical
    why: A lamp was lit, in tests
    owner: tests@example.org
    expires: 2030-01-01
    retention: 1h
    fields: {on: {type: boolean}}
"""
DAILY = (("window: 1h", "window: 1d"), ("late_horizon: 1d", "late_horizon: 8d"), ("signals:\n", LAMP))
RENAMED = ("side: {from: door.opened,", "aspect: {from: door.opened,")
GROUPS = {"a": START + 600, "b": START + DAY + 600, "c": START + DAY + 900}  # when its events happen
EVENTS_IN_A_GROUP = 20
LAMPS = 5


@cache
def policy(version):
    """Daily windows, a signal of short retention; in the second one a metric has left and another come."""
    return make_policy(version=version, edits=DAILY if version == 1 else (*DAILY, RENAMED))


def doors(group):
    """One group of events, two of them with one id."""
    lines = [
        opening(GROUPS[group] + number, id=f"{group}{number}", fields={"seconds": number % 50, "side": "left"})
        for number in range(EVENTS_IN_A_GROUP)
    ]
    return [lines[:7], [*lines[7:], lines[8]]]


def lamps():
    """Events that are to be forgotten on the second day."""
    return [
        msgspec.structs.replace(
            opening(START + 300 + number, id=f"lamp{number}", fields={"on": True}), signal="lamp.lit", version="1-0-0"
        )
        for number in range(LAMPS)
    ]


def is_stored(outcome):
    """Whether a sender may forget the event."""
    return outcome is None or outcome.reason.value == "DUPLICATE"


class Life:
    """The steps, each tried again where trouble may pass, as the daemon does."""

    def __init__(self, folder, faults, acknowledged):
        self.folder, self.faults, self.acknowledged = folder, faults, acknowledged
        self.clock = ManualClock(START * 1000)

    def live(self):
        """From the first start to the last close."""
        for _ in self.tries():
            with suppress(RetryableError):
                with open_device(self.folder, policy(1), self.clock) as device:
                    self.work(device)
                return

    def tries(self):
        """Three tries under the fault, then the disk has room again."""
        yield from range(3)
        self.faults.faults_disarm()
        yield from range(2)
        raise AssertionError("trouble that does not pass")

    def again(self, step, *arguments):
        """A step until it succeeds."""
        for _ in self.tries():
            with suppress(RetryableError):
                return step(*arguments)
        return None

    def send(self, device, lines):
        """As a sender does: what is stored is ticked off."""
        outcomes = self.again(device.pipeline.record, lines)
        kept = [line.id for line, outcome in zip(lines, outcomes, strict=True) if is_stored(outcome)]
        assert len(kept) == len(lines), outcomes
        os.write(self.acknowledged, "".join(f"{name}\n" for name in kept).encode())

    def work(self, device):
        """Two days."""
        self.clock.ms = START * 1000
        self.again(device.pipeline.close_windows)
        self.clock.ms = (START + 1000) * 1000
        self.send(device, lamps())
        for lines in doors("a"):
            self.send(device, lines)
        self.clock.ms = (START + DAY + 1000) * 1000
        self.again(device.pipeline.close_windows)
        self.again(self.settle, device)
        for lines in doors("b"):
            self.send(device, lines)
        self.again(device.pipeline.forget)
        self.again(device.pipeline.adopt, policy(2))
        self.again(device.pipeline.close_windows)
        for lines in doors("c"):
            self.send(device, lines)

    def settle(self, device):
        """The aggregator answers for the first report."""
        [row, *_] = device.pipeline.publishable(10)
        tag = receipt_tag(row.receipt_key, row.report_id, 0)
        device.pipeline.settle([Receipt(row.report_id, 0, tag)])


def run(order, faults):
    """One life, in a forked child: says how it ended, unless it is killed."""
    folder = Path(order["folder"])
    acknowledged = os.open(f"{folder}.acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    faults.faults_arm(str(folder).encode(), KINDS.index(order["kind"]), order["at"])
    ended = "well"
    try:
        Life(folder, faults, acknowledged).live()
    except DiscreetError as exc:
        ended = f"{type(exc).__name__}: {exc}"
    faults.faults_disarm()
    facts = {"ended": ended, "operations": faults.faults_operations(), "struck": faults.faults_struck_at()}
    Path(f"{folder}.facts").write_text(json.dumps(facts | {"name": faults.faults_struck_name().decode()}))


def main():
    """Serve orders until standard input ends."""
    faults = ctypes.CDLL(os.environ["LD_PRELOAD"])
    faults.faults_operations.restype = faults.faults_struck_at.restype = ctypes.c_long
    faults.faults_struck_name.restype = ctypes.c_char_p
    faults.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
    policy(2).plans["opened"].mechanism.randomize(1)  # loads OpenDP once, for all children
    policy(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(json.loads(line), faults)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
