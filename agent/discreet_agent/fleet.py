"""Many devices in a few processes, in step with recorded time: demonstration, simulation, benchmarks.

Each device is the real thing: its own folder, database, secret, ledger and randomness. Only
the MQTT connection is shared within a process. The driver advances the replay clock to the
end of a window, every worker feeds that window's events and closes it for its devices, and
the next window begins when every report has its receipt (DESIGN.md §9).
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.device import OpenDevice, open_device
from discreet_agent.event import EventLine
from discreet_agent.link import MqttLink
from discreet_agent.publish import Courier, read_receipts
from discreet_agent.receive.lines import Greeting, Query, decode_line
from discreet_agent.trials.facts import Facts
from discreet_contract.broker import Broker
from discreet_contract.clock import ManualClock, ReplayClock
from discreet_contract.durations import seconds
from discreet_contract.errors import ConfigError, PermanentError
from discreet_contract.files import read_or_explain
from discreet_contract.policy.bundle import read_bundle
from discreet_contract.policy.obey import believe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from discreet_contract.policy.release import VerifiedPolicy

OPEN_DEVICES = 150  # at once in a worker: three descriptors each
COMMIT_SPAN_MS = 7 * 86_400_000  # a replayed device wakes once a week, stores what happened, sleeps again
SEND_EVERY_SECONDS = 0.05  # looks at all that waits for a receipt
RECEIPT_PATIENCE_SECONDS = 120.0


class ReplayPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to replay. `events` holds one line a device: {"device": name, "lines": [event line, …]}, times ascending.

    A device may say its `platform` and `release`, as agent.toml would.
    """

    policy: str
    roots: tuple[str, ...]
    broker: Broker
    events: str
    state_dir: str
    clock: str  # file of the replay clock, shared with the aggregator
    first_window: int  # seconds
    windows: int = 1
    workers: int = 2
    resend_seconds: float = 10.0


class _Recording(msgspec.Struct, frozen=True):
    """One device's events, each an event line as a sender would write it."""

    device: str
    lines: list[msgspec.Raw]
    platform: str = "linux"
    release: str = ""


def read_plan(path: Path) -> ReplayPlan:
    """A replay plan from a JSON file; refused unless the broker is on this machine."""
    try:
        plan = msgspec.json.decode(
            read_or_explain(path, what="a replay plan", hint="see scripts/demo"), type=ReplayPlan
        )
    except msgspec.MsgspecError as exc:
        raise ConfigError(f"{path}:1: {exc}", hint="see scripts/demo for a plan that works") from exc
    if not plan.broker.is_loopback:
        raise ConfigError("a replay runs against a broker on this machine only", hint="start one on 127.0.0.1")
    return plan


def replay_fleet(plan: ReplayPlan) -> dict[str, int]:
    """Replay all windows; returns counts over all devices. Raises where a report's receipt never comes."""
    policy = _read_policy(plan)
    context = multiprocessing.get_context("spawn")
    started = [_start_worker(context, plan, share) for share in range(plan.workers)]
    totals: Counter[str] = Counter()
    try:
        for start, published_ms in _windows(plan, policy):
            ReplayClock.write(Path(plan.clock), published_ms)
            for pipe, _ in started:
                pipe.send(start)
            for pipe, _ in started:
                totals.update(_answer_of(pipe))
    finally:
        for pipe, process in started:
            pipe.close()
            process.join(timeout=30)
    return dict(totals)


def _read_policy(plan: ReplayPlan) -> VerifiedPolicy:
    hint = "publish to this file with `discreet policy publish`"
    content = read_or_explain(Path(plan.policy), what="the policy", hint=hint)
    return believe(read_bundle(content), plan.roots).policy


def _windows(plan: ReplayPlan, policy: VerifiedPolicy) -> Iterator[tuple[int, int]]:
    """(window start in seconds, the moment by which all its reports are out in ms)."""
    lengths = {p.metric.window_seconds for p in policy.plans.values()}
    if len(lengths) != 1:
        raise ConfigError("a replayed policy has one window length", hint="give all its metrics the same `window`")
    [length] = lengths
    settle = seconds(policy.policy.lateness) + seconds(policy.policy.spread)
    for number in range(plan.windows):
        start = plan.first_window + number * length
        yield start, (start + length + settle) * 1000


def _start_worker(context: Any, plan: ReplayPlan, share: int) -> tuple[Connection, Any]:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(plan, share, theirs), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _answer_of(pipe: Connection) -> dict[str, int]:
    try:
        answer = pipe.recv()
    except EOFError as exc:
        raise PermanentError("a replay worker ended early", hint="its own message stands above") from exc
    if isinstance(answer, str):
        raise PermanentError(answer, hint="look at the aggregator's log and at `discreet aggregator refusals`")
    counts: dict[str, int] = answer
    return counts


def _work(plan: ReplayPlan, share: int, pipe: Connection) -> None:
    """A worker's life: one window after another until the driver closes the pipe."""
    policy = _read_policy(plan)
    recordings = list(_share_of(plan, share))
    arrived: SimpleQueue[bytes] = SimpleQueue()
    with MqttLink(plan.broker, policy.policy.fleet, arrived.put) as link:
        while True:
            try:
                start = pipe.recv()
            except EOFError:
                return
            fleet_window = _FleetWindow(plan, policy, start, link, arrived)
            try:
                for recording in recordings:
                    fleet_window.run_device(recording)
                fleet_window.wait_for_receipts(until_open=0)
            except PermanentError as exc:
                pipe.send(f"worker {share}: {exc}")
                return
            pipe.send(dict(fleet_window.totals))


def _share_of(plan: ReplayPlan, share: int) -> Iterator[_Recording]:
    with Path(plan.events).open("rb") as lines:
        for number, line in enumerate(lines):
            if number % plan.workers == share:
                yield msgspec.json.decode(line, type=_Recording)


class _FleetWindow:
    """One window of one worker's devices."""

    def __init__(
        self, plan: ReplayPlan, policy: VerifiedPolicy, start: int, link: MqttLink, arrived: SimpleQueue[bytes]
    ) -> None:
        self.totals: Counter[str] = Counter()
        self._plan = plan
        self._policy = policy
        self._start_ms = start * 1000
        self._end_ms = self._start_ms + next(iter(policy.plans.values())).metric.window_seconds * 1000
        self._link = link
        self._arrived = arrived
        self._courier = Courier(plan.resend_seconds)
        self._open: dict[str, tuple[OpenDevice, ExitStack]] = {}
        self._owner: dict[bytes, str] = {}  # report id → device that waits for its receipt
        self._next_send = 0.0
        self._again: dict[bytes, int] = {}  # report id → when to send it again: devices' clocks stand still meanwhile

    def run_device(self, recording: _Recording) -> None:
        """Feed one device the window's events, close the window, hand its reports to the link."""
        self.wait_for_receipts(until_open=OPEN_DEVICES - 1)
        clock = ManualClock(self._start_ms)
        stack = ExitStack()
        folder = Path(self._plan.state_dir) / recording.device
        facts = Facts(recording.platform, recording.release)
        device = stack.enter_context(open_device(folder, self._policy, clock, facts=facts))
        self._open[recording.device] = (device, stack)
        device.pipeline.trials.tick()  # at the window's very start: enrols a new device
        device.pipeline.close_windows()
        self._feed(device, clock, recording)
        clock.advance_to(self._end_ms + seconds(self._policy.policy.lateness) * 1000)
        self.totals["reports_made"] += device.pipeline.close_windows()
        clock.advance_to(clock.now_ms() + seconds(self._policy.policy.spread) * 1000)
        for row in device.pipeline.publishable(device.store.outbox.waiting()):
            self._owner[row.report_id] = recording.device
        self._send()

    def wait_for_receipts(self, *, until_open: int) -> None:
        """Take receipts until at most this many devices still wait for one."""
        deadline = time.monotonic() + RECEIPT_PATIENCE_SECONDS
        while True:
            self._take_receipts()
            if len(self._open) <= until_open:
                return
            if time.monotonic() >= self._next_send:
                self._send()
            if time.monotonic() > deadline:
                raise PermanentError(f"{len(self._owner)} reports got no receipt in {RECEIPT_PATIENCE_SECONDS:.0f} s")
            time.sleep(0.002)

    def _feed(self, device: OpenDevice, clock: ManualClock, recording: _Recording) -> None:
        """Record in weekly commits; the device's clock stands at the end of each."""
        events = [line for line in map(_decode, recording.lines) if self._start_ms <= int(line.time) < self._end_ms]
        for span_end in range(self._start_ms + COMMIT_SPAN_MS, self._end_ms + COMMIT_SPAN_MS, COMMIT_SPAN_MS):
            clock.advance_to(min(span_end, self._end_ms))
            batch = [line for line in events if span_end - COMMIT_SPAN_MS <= int(line.time) < span_end]
            if batch:
                outcomes = device.pipeline.record(batch)
                self.totals["events_in"] += outcomes.count(None)
                self.totals["events_refused"] += len(outcomes) - outcomes.count(None)

    def _send(self) -> None:
        self._next_send = time.monotonic() + SEND_EVERY_SECONDS
        boot_ms = time.monotonic_ns() // 1_000_000
        for device, _ in self._open.values():
            waiting = device.pipeline.publishable(device.store.outbox.waiting())
            rows = [row for row in waiting if self._again.get(row.report_id, 0) <= boot_ms]
            handed = self._courier.send(rows, self._link, boot_ms)
            self._again |= {one.report_id: one.again_at_ms for one in handed}
            self.totals["publications"] += len(handed)

    def _take_receipts(self) -> None:
        while True:
            try:
                receipts = read_receipts(self._arrived.get_nowait())
            except Empty:
                return
            by_device: dict[str, list[Any]] = {}
            for receipt in receipts:
                owner = self._owner.get(receipt.report_id)
                if owner is not None:
                    by_device.setdefault(owner, []).append(receipt)
            for name, own in by_device.items():
                self._settle(name, own)

    def _settle(self, name: str, receipts: list[Any]) -> None:
        device, stack = self._open[name]
        self.totals["reports_settled"] += device.pipeline.settle(receipts)
        for receipt in receipts:
            if device.store.outbox.find(receipt.report_id) is None:
                self._owner.pop(receipt.report_id, None)
                self._again.pop(receipt.report_id, None)
        if device.store.outbox.waiting() == 0:
            stack.close()
            del self._open[name]


def _decode(raw: msgspec.Raw) -> EventLine:
    """A recorded line, through the same door as one from the socket."""
    content = decode_line(bytes(raw))
    event = None if isinstance(content, Query | Greeting) else content[0]
    if not isinstance(event, EventLine) or not isinstance(event.time, int):
        raise PermanentError("a replayed line is one event with its time in milliseconds")
    return event
