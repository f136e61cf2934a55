"""The order of the steps on a device. Two ways through: an event comes in, a window closes.

    record          validate → known id? → raw block → tallies
                    one commit for many events
    close_windows   begins: caps → reserved · ends: charge → tally → conclude → bound → randomise → seal → outbox
                    one commit for all metrics of a window, then the ledger's head, then it may leave
    settle          receipt → sent
                    one commit for many receipts
    forget          what has outlived its retention

Stages are plain functions; only this module hands their values to the store.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from discreet_agent.budget_clock import BudgetClock
from discreet_agent.event import Event, EventRefusal, Refused
from discreet_agent.reserve import Reserve
from discreet_agent.schedule import Due, draw_number, due_windows, first_window, give_up_before
from discreet_agent.seal import seal, valid_key
from discreet_agent.store.head import Halt
from discreet_agent.store.outbox import OutboxRow
from discreet_agent.store.tallies import Scheduled
from discreet_agent.summarise import bound, describe, randomise, randomise_memoised
from discreet_agent.tally import compile_tally, conclude, group_by_signal
from discreet_agent.validate import validate
from discreet_contract.accounting import Debit, check_caps
from discreet_contract.durations import seconds
from discreet_contract.mechanisms.memoised import MemoisedResponse
from discreet_contract.wire import verdict_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.consent import Consent
    from discreet_agent.event import BoundedValue, NoisedValue, Received
    from discreet_agent.store.head import Halted, HeadKeeper
    from discreet_agent.store.store import Store
    from discreet_agent.tally import SignalGroup, Tally
    from discreet_contract.clock import Clock
    from discreet_contract.policy.model import AggregatorKey
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.policy.release import VerifiedPolicy
    from discreet_contract.wire import Receipt


# Facts that outlive a restart.
_PAUSED = "paused"  # the owner's yes was to less than the policy in force asks for
_RESUMED_MS = "resumed_ms"  # when the latest such pause ended


@dataclass(frozen=True, slots=True)
class Device:
    """What makes this device this device: its secret, its policy, its clock, its owner's word."""

    secret: bytes
    policy: VerifiedPolicy
    clock: Clock
    consent: Consent


class Pipeline:
    """One device's pipeline over its open store. Single-threaded: one writer."""

    def __init__(self, device: Device, store: Store, head: HeadKeeper) -> None:
        self._store = store
        self._head = head
        self._time = BudgetClock(store, device.clock)
        self._counted_halt: Halt | None = None
        self._unwritten: dict[EventRefusal, int] = {}  # refusals counted since the last commit
        self._set_up(device)

    def adopt(self, policy: VerifiedPolicy) -> None:
        """Go on under another policy: at once for what is received, at a window border for metrics.

        A metric whose definition stays the same goes on within its window. A new or redefined one begins
        with the next whole window, and one that left the policy ends at once: what was counted is forgotten.
        """
        with self._store.transaction():
            self._store.tallies.keep_only(policy.plans)
        self._set_up(replace(self._device, policy=policy))

    def note_pause(self) -> None:
        """Remember that nothing is observed now, so that no window of this time is ever reported as if it were."""
        if self._store.recall(_PAUSED) is None:
            with self._store.transaction():
                self._store.remember(_PAUSED, value=True)

    def _set_up(self, device: Device) -> None:
        policy = device.policy.policy
        self._device = device
        self._signals = policy.signals
        self._plans = device.policy.plans
        self._tallies = [compile_tally(plan, self._signals[plan.metric.from_]) for plan in self._plans.values()]
        self._retention = {name: seconds(signal.retention) for name, signal in policy.signals.items()}
        self._reserve = Reserve(self._store, device.policy, device.secret)

    # --- an event comes in -----------------------------------------------------------------

    def record(self, received: Sequence[Received]) -> list[Refused | None]:
        """Take events; returns None for each one that is now on disk, its refusal for each other, in order."""
        refusal = self._device.consent.refusal(self._device.policy.policy)
        if refusal is not None:  # P6: not even the refusal is written down
            return [Refused(EventRefusal.CONSENT_OFF, refusal) for _ in received]
        now_ms = self._device.clock.now_ms()
        checked = [item if isinstance(item, Refused) else validate(item, self._signals, now_ms) for item in received]
        if not any(isinstance(item, Event) for item in checked):
            return self._all_refused(checked)
        with self._store.transaction():
            outcomes = [self._refuse_known_id(item) for item in checked]
            events = [item for item in outcomes if isinstance(item, Event)]
            self._store.raw.append(events, self._retention)
            self._tally(events)
            self._store.count("events_accepted", by=len(events))
            self._count_refusals([item for item in outcomes if isinstance(item, Refused)])
            self._write_refusals()
        self._unwritten.clear()
        return [item if isinstance(item, Refused) else None for item in outcomes]

    def _refuse_known_id(self, item: Event | Refused) -> Event | Refused:
        if isinstance(item, Refused) or item.id is None:
            return item
        expires_at = item.time_ms // 1000 + self._retention[item.signal]
        if self._store.raw.admit_id(item.id, expires_at):
            return item
        return Refused(EventRefusal.DUPLICATE, "an event with this id is already stored")

    def _tally(self, events: Sequence[Event]) -> None:
        groups = group_by_signal(events)
        for tally in self._tallies:
            if tally.signal in groups:
                self._fold(tally, groups[tally.signal])

    def _fold(self, tally: Tally, group: SignalGroup) -> None:
        tallies = self._store.tallies
        scheduled = tallies.scheduled(tally.name)
        for start, events in tally.concerned(group):
            if scheduled is not None and start < scheduled.next_window:
                is_late = start >= scheduled.first_window
                self._store.count("events_late" if is_late else "events_before_enrolment", tally.name, by=len(events))
                continue
            state = tallies.load(tally.name, tally.version, start)
            tallies.save(tally.name, tally.version, start, tally.fold(state, events))

    # --- a window closes -------------------------------------------------------------------

    def close_windows(self) -> int:
        """Close every window that is over; returns how many reports were put into the outbox."""
        policy = self._device.policy.policy
        if self._device.consent.refusal(policy) is not None:
            return 0
        now_ms = self._time.now_ms()  # read first: no charge is dated before the time by which it was due
        wall_ms = self._device.clock.now_ms()
        key = valid_key(policy, wall_ms)
        if key is None:  # releases pause, visibly; nothing is charged and no window is lost
            return 0
        may_draw = self._head.follow()  # asked anew each time: a commit may have failed whose end nobody saw
        self._note_halt()
        if not may_draw:
            return 0
        following = self._begin_windows(now_ms, wall_ms)
        reports = 0
        for due in due_windows(self._device.policy, following, now_ms):
            with self._store.transaction():
                reports += sum(self._close(plan, due, key, wall_ms) for plan in due.plans)
                self._time.save()
        self._time.keep()
        self._head.follow()
        return reports

    def _begin_windows(self, now_ms: int, wall_ms: int) -> dict[str, int]:
        """Enrol what is new, reserve for windows that have begun; returns the next window to close of each metric."""
        halted = self._time.halted
        if halted is None or halted.reason is Halt.CLOCK_JUMPED:  # else a first window could lie anywhere
            self._enrol(wall_ms)
        following = self._next_windows(now_ms)
        self._reserve.decide(following, now_ms)
        return following

    def publishable(self, limit: int) -> list[OutboxRow]:
        """Reports that may leave now, oldest first: their charges stand below the head outside the database."""
        return self._store.outbox.due(self._device.clock.now_ms(), limit) if self._head.follow() else []

    @property
    def halted(self) -> Halted | None:
        """Why nothing is charged and nothing leaves, though the owner and the policy would allow it; else None."""
        return self._head.halted or self._time.halted

    def learn_signed_time(self, ms: int) -> None:
        """Take the time under the log's head that is obeyed; budgets go by it where the wall clock cannot be proven."""
        self._time.learn(ms)

    def hear_time(self, ms: int) -> None:
        """Take the aggregator's word that it is at least so late; the device's own clock is believed up to there."""
        self._time.hear(ms)

    def _note_halt(self) -> None:
        """Count a halt when it begins, and at each start that finds it."""
        halted = self.halted
        if halted is not None and halted.reason is not self._counted_halt:
            with self._store.transaction():
                self._store.count("releases_halted", halted.reason.value)
        self._counted_halt = None if halted is None else halted.reason

    def _close(self, plan: MetricPlan, due: Due, key: AggregatorKey, now_ms: int) -> int:
        """Close one window of one metric, inside the transaction. A window is charged and drawn once, or never."""
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
        sealed = seal(self._device.policy, plan, start, noised, secret=self._device.secret, key=key)
        spread_ms = seconds(self._device.policy.policy.spread) * 1000
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
                receipt_buckets=self._device.policy.policy.receipt_buckets,
            )
        )
        self._store.count("reports_made", plan.name)

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
            tallies.keep_only(self._plans)
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

    # --- the aggregator answers ------------------------------------------------------------

    def settle(self, receipts: Sequence[Receipt]) -> int:
        """Clear the reports that these receipts are truly for; returns how many. Forged receipts are counted."""
        settled = 0
        with self._store.transaction():
            for receipt in receipts:
                row = self._store.outbox.find(receipt.report_id)
                if row is None:  # another device's, or a repeated receipt
                    continue
                if not receipt.authentic(row.receipt_key):
                    self._store.count("receipts_forged")
                    continue
                self._store.outbox.settle(row, receipt.verdict, self._device.clock.now_ms())
                self._store.count("reports_settled", verdict_name(receipt.verdict))
                settled += 1
        return settled

    # --- time passes -----------------------------------------------------------------------

    def forget(self) -> int:
        """Delete raw events past their retention, settled and undeliverable reports past the horizon."""
        policy = self._device.policy.policy
        if self._device.consent.refusal(policy) is not None:
            return 0
        now_ms = self._time.now_ms()
        with self._store.transaction():
            gone = self._store.raw.forget(self._device.clock.now_ms() // 1000)
            self._store.count("events_forgotten", by=gone)
            self._store.tallies.keep_only(self._plans)
            for plan in self._plans.values():
                too_late = give_up_before(policy, plan, now_ms)
                given_up = self._store.outbox.give_up(plan.name, too_late, now_ms)
                self._store.count("reports_given_up", plan.name, by=given_up)
                self._store.tallies.drop(plan.name, too_late - 1)  # kept this long only where no key was valid
                self._store.ledger.forget_refusals(plan.name, too_late)
            horizon_ms = seconds(policy.late_horizon) * 1000
            given_up = self._store.outbox.give_up_others(self._plans, now_ms - horizon_ms, now_ms)
            self._store.count("reports_given_up", "METRIC_LEFT_THE_POLICY", by=given_up)
            self._store.outbox.forget_sent(now_ms - horizon_ms)
            self._write_refusals()
        self._unwritten.clear()
        self._store.truncate_log()
        return gone

    def _all_refused(self, checked: Sequence[Event | Refused]) -> list[Refused | None]:
        """Nothing to store: count in memory, so that a flood of bad input costs no disk writes."""
        refused = [item for item in checked if isinstance(item, Refused)]
        self._count_refusals(refused)
        return list(refused)

    def _count_refusals(self, refused: Sequence[Refused]) -> None:
        for item in refused:
            self._unwritten[item.reason] = self._unwritten.get(item.reason, 0) + 1

    def _write_refusals(self) -> None:
        for reason, count in self._unwritten.items():
            self._store.count("events_refused", reason.value, by=count)
