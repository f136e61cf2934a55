"""A window closes: caps → reserved when it begins; charge → tally → bound → randomise → seal → outbox when it ends.

One commit for all metrics of a window, then the ledger's head, and only then may it leave.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import structlog

from discreet_agent.outbox_bounds import bound_reached
from discreet_agent.reserve import Reserve
from discreet_agent.schedule import Due, draw_number, due_windows, first_window
from discreet_agent.seal import Subject, seal, valid_key
from discreet_agent.store.head import Halt
from discreet_agent.store.outbox import OutboxRow
from discreet_agent.store.tallies import Scheduled
from discreet_agent.summarise import bound, describe, randomise, randomise_memoised
from discreet_agent.tally import conclude
from discreet_contract.accounting import Debit, check_caps
from discreet_contract.durations import seconds
from discreet_contract.mechanisms.memoised import MemoisedResponse
from discreet_contract.policy.dimensions import FACTS, arm_dimension, names_arm

if TYPE_CHECKING:
    from discreet_agent.budget_clock import BudgetClock
    from discreet_agent.event import BoundedValue, NoisedValue
    from discreet_agent.outbox_bounds import OutboxBound
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.trials import Trials
    from discreet_agent.store.head import Halted, HeadKeeper
    from discreet_agent.store.store import Store
    from discreet_contract.policy.model import AggregatorKey
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.wire import Dimensions

log = structlog.get_logger()

# Facts that outlive a restart.
_PAUSED = "paused"  # the owner's yes was to less than the policy in force asks for
_RESUMED_MS = "resumed_ms"  # when the latest such pause ended


class Closing:
    """Closes windows under one policy after another."""

    def __init__(self, device: Device, store: Store, head: HeadKeeper, time: BudgetClock, trials: Trials) -> None:
        self._store = store
        self._head = head
        self._time = time
        self._trials = trials
        self._counted_halt: Halt | None = None
        self._waiting: set[str] = set()  # metrics with a window that found no room in the outbox, this time
        self._is_keyless = False
        self._counted_full: OutboxBound | None = None
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self._plans = device.policy.plans
        self._reserve = Reserve(self._store, device.policy, device.secret, device.caps)
        self._is_pruned = False

    @property
    def halted(self) -> Halted | None:
        """See `Pipeline.halted`."""
        return self._head.halted or self._time.halted

    def note_pause(self) -> None:
        """See `Pipeline.note_pause`."""
        if self._store.recall(_PAUSED) is None:
            with self._store.transaction():
                self._store.remember(_PAUSED, value=True)

    def close_windows(self) -> int:
        """See `Pipeline.close_windows`."""
        if self._device.why_off is not None:
            return 0
        self._leave_the_gone()
        now_ms = self._time.now_ms()  # read first: no charge is dated before the time by which it was due
        wall_ms = self._device.clock.now_ms()
        key = valid_key(self._device.rules, wall_ms)
        self._note_key(is_valid=key is not None)
        if key is None:  # releases pause, visibly; nothing is charged and no window is lost
            return 0
        may_draw = self._head.follow()  # asked anew each time: a commit may have failed whose end nobody saw
        self._note_halt()
        if not may_draw:
            return 0
        following = self._begin_windows(now_ms, wall_ms)
        reports = 0
        self._waiting = set()
        for due in due_windows(self._device.policy, following, now_ms):
            if all(self._waits_for_room(plan, due.start) for plan in due.plans):
                continue
            with self._store.transaction():
                reports += sum(self._close(plan, due, key, wall_ms) for plan in due.plans)
                self._time.save()
        self._time.keep()
        self._head.follow()
        self._note_full()
        return reports

    def _leave_the_gone(self) -> None:
        """A metric that left while the device was off, or was stopped, ends now: should it return, it begins anew."""
        if not self._is_pruned:
            with self._store.transaction():
                self._store.tallies.keep_only(self._plans)
                for plan in self._plans.values():
                    if plan.metric.from_ in self._device.limits.deny_signals:  # the owner's no is to what waits, too
                        self._store.tallies.drop_all(plan.name)
            self._is_pruned = True

    def _begin_windows(self, now_ms: int, wall_ms: int) -> dict[str, int]:
        """Enrol what is new, reserve for windows that have begun; returns the next window to close of each metric."""
        halted = self._time.halted
        if halted is None or halted.reason is Halt.CLOCK_JUMPED:  # else a first window could lie anywhere
            self._enrol(wall_ms)
        following = self._next_windows(now_ms)
        self._reserve.decide(following, now_ms)
        return following

    def _note_halt(self) -> None:
        """Count a halt when it begins, and at each start that finds it."""
        halted = self.halted
        if halted is not None and halted.reason is not self._counted_halt:
            with self._store.transaction():
                self._store.count("releases_halted", halted.reason.value)
        self._counted_halt = None if halted is None else halted.reason

    def _waits_for_room(self, plan: MetricPlan, start: int) -> bool:
        """Whether this window would be charged and the outbox is full: it waits, and so do the metric's later ones."""
        if plan.name in self._waiting:
            return True
        ledger = self._store.ledger
        is_settled = ledger.holds(plan.name, start) or ledger.refusal(plan.name, start) is not None
        if is_settled or not self._reserve.is_on_turn(plan, start) or self._bound_reached() is None:
            return False
        self._waiting.add(plan.name)
        return True

    def _bound_reached(self) -> OutboxBound | None:
        return bound_reached(self._device.rules.outbox, self._store.outbox.size())

    def _note_full(self) -> None:
        """Count when windows begin to wait for room, and at each start that finds them waiting."""
        bound = self._bound_reached() if self._waiting else None
        if bound is not None and bound is not self._counted_full:
            with self._store.transaction():
                self._store.count("outbox_full", bound.value)
        self._counted_full = bound

    def _note_key(self, *, is_valid: bool) -> None:
        """Count and say when no key is valid any more, and at each start that finds none."""
        if not is_valid and not self._is_keyless:
            log.warning(
                "releases pause: the policy names no aggregator key that is valid today",
                next_step="publish a policy with a key for today; windows wait until the late horizon has passed",
            )
            with self._store.transaction():
                self._store.count("releases_without_key")
        self._is_keyless = not is_valid

    def _close(self, plan: MetricPlan, due: Due, key: AggregatorKey, now_ms: int) -> int:
        """Close one window of one metric, inside the transaction. A window is charged and drawn once, or never."""
        if self._waits_for_room(plan, due.start):
            return 0
        reports = 0
        tallies = self._store.tallies
        self._store.count("windows_expired", plan.name, by=due.expired[plan.name])
        tallies.close_until(plan.name, due.end)
        if self._store.ledger.holds(plan.name, due.start):  # enrolled anew after a clock was set back
            return 0
        debit = Debit(due.start, self._reserve.cost(plan))
        if not self._reserve.is_on_turn(plan, due.start):
            self._store.count("windows_not_on_turn", plan.name)
        elif self._may_charge(plan, debit):
            self._charge(plan, debit, now_ms)
            state = tallies.load(plan.name, plan.version, due.start)
            noised = self._draw(plan, bound(plan, conclude(plan, state)), due.start)
            self._queue(plan, due.start, noised, key, now_ms)
            reports = 1
        tallies.drop(plan.name, due.start)
        self._store.reservations.free(plan.name, due.end)
        return reports

    def _may_charge(self, plan: MetricPlan, debit: Debit) -> bool:
        """Whether no cap refused this window when it began. What was reserved then fits; it is checked all the same."""
        ledger = self._store.ledger
        if ledger.refusal(plan.name, debit.window_start) is None:
            refusal = check_caps(ledger.debits(), self._reserve.caps, debit)
            if refusal is None:
                return True
            ledger.refuse(plan.name, debit.window_start, refusal)
        cap = ledger.refusal(plan.name, debit.window_start)
        assert cap is not None  # noqa: S101 - it was found, or written just now
        self._store.count("releases_refused", f"BUDGET_{cap.name}")
        return False

    def _draw(self, plan: MetricPlan, value: BoundedValue, start: int) -> NoisedValue:
        mechanism = plan.mechanism
        if not isinstance(mechanism, MemoisedResponse):
            return randomise(plan, value)
        memos = self._store.memos
        first = memos.first_window(plan.name, plan.version)
        draw = draw_number(plan, start if first is None else first, start)
        stored = memos.find(plan.name, plan.version, draw)
        if stored is None:
            stored = mechanism.permanent(value.value)
            memos.keep(plan.name, plan.version, draw, start, stored)
        return randomise_memoised(mechanism, stored)

    def _charge(self, plan: MetricPlan, debit: Debit, now_ms: int) -> None:
        self._store.ledger.charge(
            plan.name,
            debit,
            window_seconds=plan.metric.window_seconds,
            mechanism=plan.mechanism.id,
            policy_hash=self._device.policy.digest,
            at_ms=now_ms,
        )

    def _queue(self, plan: MetricPlan, start: int, noised: NoisedValue, key: AggregatorKey, now_ms: int) -> None:
        subject = Subject(plan, start, self._dimensions(plan, start))
        sealed = seal(self._device.policy, subject, noised, secret=self._device.secret, key=key)
        spread_ms = seconds(self._device.rules.spread) * 1000
        self._store.outbox.add(
            OutboxRow(
                report_id=sealed.report_id,
                metric=plan.name,
                window_start=start,
                mechanism=plan.mechanism.id,
                payload=noised.payload,
                says=describe(plan, noised),
                receipt_key=sealed.receipt_key,
                envelope=sealed.envelope,
                created_at_ms=now_ms,
                not_before_ms=now_ms + secrets.randbelow(spread_ms + 1),
                receipt_buckets=self._device.rules.receipt_buckets,
            )
        )
        self._store.count("reports_made", plan.name)

    def _dimensions(self, plan: MetricPlan, start: int) -> Dimensions:
        """Public facts that the metric asks for: arms in force for the whole window, platform, release."""
        rules, end = self._device.rules, start + plan.metric.window_seconds
        asked = [name for name in rules.experiments if names_arm(rules, plan, name, start)]
        pairs = [(arm_dimension(name), self._trials.arm_throughout(name, start, end)) for name in asked]
        pairs += [(fact, getattr(self._device.facts, fact)) for fact in FACTS if fact in plan.metric.by]
        return tuple(sorted((name, value) for name, value in pairs if value))

    def _enrol(self, now_ms: int) -> None:
        """Give every metric its first window, again where its definition or the consent is another one."""
        since_ms = self._observed_since(now_ms)
        tallies = self._store.tallies
        fresh: dict[str, tuple[MetricPlan, int]] = {}
        for plan in self._plans.values():
            first = first_window(plan, tallies.scheduled(plan.name), since_ms, now_ms)
            if first is not None:
                fresh[plan.name] = (plan, first)
        if not fresh:
            return
        with self._store.transaction():
            self._time.save()
            for name, (plan, first) in fresh.items():
                length = plan.metric.window_seconds
                tallies.drop(name, first - 1)
                self._store.reservations.free_all(name)
                tallies.enrol(name, Scheduled(plan.version, length, since_ms, first, first))
                self._store.count("metrics_enrolled", name)
        self._reserve.look_again()

    def _observed_since(self, now_ms: int) -> int:
        """When the present stretch of consent began; a pause that a later policy ended begins a new one."""
        if self._store.recall(_PAUSED) is not None:
            with self._store.transaction():
                self._store.forget_fact(_PAUSED)
                self._store.remember(_RESUMED_MS, now_ms)
        return max(self._device.consent.since_ms(), self._store.recall(_RESUMED_MS) or 0)

    def _next_windows(self, now_ms: int) -> dict[str, int]:
        """Per metric the first window not yet closed; only of those enrolled under today's definition and consent."""
        since_ms = self._observed_since(now_ms)
        scheduled = [(plan, self._store.tallies.scheduled(plan.name)) for plan in self._plans.values()]
        return {
            plan.name: row.next_window
            for plan, row in scheduled
            if row is not None and first_window(plan, row, since_ms, now_ms) is None
        }
