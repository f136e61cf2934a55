"""A signed policy with every kind of metric, and devices on a clock that the test moves."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from nacl.public import PrivateKey
from nacl.signing import SigningKey

from discreet_agent.device import OpenDevice, open_device
from discreet_agent.event import EventLine
from discreet_agent.steps.device import Limits
from discreet_contract.clock import ManualClock
from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text
from discreet_contract.policy.release import VerifiedPolicy, sign_policy, verify_policy
from discreet_contract.wire import Receipt, Verdict, receipt_tag

HOUR = 3600
START = 1_700_006_400  # 2023-11-15T00:00:00Z, second
ROOT = SigningKey(bytes(31) + b"\1")
AGGREGATOR = PrivateKey(bytes(31) + b"\2")

POLICY = """
discreet: 1
fleet: testers
version: {version}
release: {{author: tests@example.org, reason: a policy for tests}}
consent: {consent}
aggregator:
  keys: [{{id: test, public_key: "{public_key}", from: 2020-01-01, until: {until}}}]
budget: {{per_28_days: {cap}, per_365_days: 1000, lifetime: 1000, exhaustible: "tests run into the caps"}}
lateness: 1m
late_horizon: 1d
spread: {spread}
receipt_buckets: 16
signals:
  {signal}:
    version: 1-1-0
    accepts: [1-0-0]
    role: observation
    kind: outcome
    sensitivity: {sensitivity}
    why: A door was opened, in tests
    owner: tests@example.org
    expires: 2030-01-01
    retention: {retention}
    fields:
      seconds: {{type: number, min: -10, max: 100, unit: s, grid: 0.5}}
      side: {{type: category, values: [left, right]}}
      forced: {{type: boolean, required: false}}
metrics:
  opened: {{from: {signal}, per_device: any, type: binary, window: 1h, epsilon: 1.0, owner: a@b.c, why: in tests}}
  side: {{from: {signal}, per_device: {{most_frequent: side}}, type: category, window: 1h, epsilon: 1.0, owner: a@b.c, why: in tests}}
  openings: {{from: {signal}, per_device: count, type: count, bounds: [0, 10], window: 1h, epsilon: 1.0, owner: a@b.c, why: in tests}}
"""  # noqa: E501 - one metric a line reads better


def make_policy(**changes) -> VerifiedPolicy:
    """The test policy, signed and verified; changes: see `make_signed`."""
    return verify_policy(make_signed(**changes), [ROOT.verify_key.encode().hex()])


def make_signed(root: SigningKey = ROOT, edits: tuple[tuple[str, str], ...] = (), **changes) -> bytes:
    """The same, as the bytes that are delivered."""
    settings = {
        "version": 1,
        "consent": "managed",
        "cap": 1000,
        "spread": "0s",
        "sensitivity": "interaction",
        "until": "2030-01-01",
        "retention": "3d",
        "signal": "door.opened",
        "public_key": AGGREGATOR.public_key.encode().hex(),
    }
    text = POLICY.format(**(settings | changes))
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return sign_policy(build_policy(parse_policy_text(text.encode(), "test.yaml")), [root])


def make_policy_with(reduction: str) -> VerifiedPolicy:
    """The same with one more metric, `measured`: this reduction of the seconds."""
    per_device = reduction if reduction in {"count", "active_days"} else f"{{{reduction}: seconds}}"
    kind = "count" if reduction in {"count", "active_days"} else "mean"
    metric = (
        f"  measured: {{from: door.opened, per_device: {per_device}, type: {kind}, bounds: [0, 100], window: 1h, "
        "epsilon: 1.0, owner: a@b.c, why: in tests}\n"
    )
    return verify_policy(make_signed(edits=(("metrics:\n", "metrics:\n" + metric),)), [ROOT.verify_key.encode().hex()])


def opening(at: float, **changes) -> EventLine:
    """One door opened at a second."""
    line = {
        "signal": "door.opened",
        "version": "1-1-0",
        "time": round(at * 1000),
        "fields": {"seconds": 1.5, "side": "left"},
    }
    return EventLine(**(line | changes))


def damage_block(device: OpenDevice, number: int = 1) -> None:
    """The flash forgets what it was told: one block's body is nonsense, in a database that SQLite finds sound."""
    with device.store.transaction():
        device.store.connection.execute("UPDATE raw_blocks SET body = zeroblob(length(body)) WHERE id = ?", (number,))


@dataclass
class MachineClock:
    """A machine whose wall clock can be set to anything while true time passes and its counter counts."""

    true_ms: int = START * 1000
    wrong_ms: int = 0  # how far the wall clock is ahead
    booted_ms: int = START * 1000 - 60_000
    boots: int = 1
    synchronized: bool = False

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return self.true_ms + self.wrong_ms

    def boot_ms(self) -> int:
        """See `Clock.boot_ms`."""
        return self.true_ms - self.booted_ms

    def boot_id(self) -> str:
        """See `Clock.boot_id`."""
        return f"boot {self.boots}"

    def is_synchronized(self) -> bool:
        """See `Clock.is_synchronized`."""
        return self.synchronized

    def wait(self, seconds: float) -> None:
        """Let true time pass while the machine is up."""
        self.true_ms += round(seconds * 1000)

    def reboot(self, off_seconds: float = 0) -> None:
        """Switch off, and on again."""
        self.true_ms += round(off_seconds * 1000)
        self.booted_ms, self.boots = self.true_ms, self.boots + 1

    def set_wall(self, ahead_seconds: float) -> None:
        """Set the wall clock so far ahead of true time; behind it where negative."""
        self.wrong_ms = round(ahead_seconds * 1000)


@dataclass
class Bench:
    """A device's folder that can be closed and opened again, under any policy, at any time."""

    folder: Path
    clock: ManualClock | MachineClock = field(default_factory=lambda: ManualClock(START * 1000))
    policy: VerifiedPolicy = field(default_factory=make_policy)
    limits: Limits = field(default_factory=Limits)
    _stack: ExitStack = field(default_factory=ExitStack)

    def open(self) -> OpenDevice:
        """Open it, after closing it."""
        self.close()
        return self._stack.enter_context(open_device(self.folder, self.policy, self.clock, self.limits))

    def at(self, second: float) -> None:
        """Set the clock, forward or back."""
        self.clock.ms = round(second * 1000)

    def close(self) -> None:
        """Close it if it is open."""
        self._stack.close()


def receipt_for(row, verdict=Verdict.ACCEPTED):
    """What the aggregator answers to a report of the outbox."""
    return Receipt(row.report_id, verdict, receipt_tag(row.receipt_key, row.report_id, verdict))
