"""What waits goes out, receipts settle it, age gives it up, and what was sent is forgotten in its time."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from discreet_agent.publish import LONGEST_WAIT_SECONDS
from discreet_agent.schedule import give_up_before
from discreet_agent.store.deletions import Deletion, Why
from discreet_contract.durations import seconds
from discreet_contract.wire import verdict_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_agent.publish import Handed
    from discreet_agent.steps.device import Device
    from discreet_agent.store.head import HeadKeeper
    from discreet_agent.store.outbox import OutboxRow
    from discreet_agent.store.store import Store
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.wire import Receipt

STEP_REPORTS = 500  # moved or forgotten in one transaction: a few milliseconds


class Sending:
    """The outbox and what was sent, under one policy after another."""

    def __init__(self, device: Device, store: Store, head: HeadKeeper) -> None:
        self._store = store
        self._head = head
        self._forged = 0  # receipts, not counted in the store yet
        self._is_forgery_told = False
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device

    def publishable(self, limit: int) -> list[OutboxRow]:
        """See `Pipeline.publishable`."""
        if not self._head.follow():
            return []
        now_ms = self._device.clock.now_ms()
        self._shorten(now_ms, limit)
        return self._store.outbox.due(now_ms, limit)

    def _shorten(self, now_ms: int, most: int) -> None:
        """Draw anew what waits for longer than anything can: another policy's spread, or a clock that was set back.

        Not sent at once: all that one device has to say would leave side by side, and with the whole fleet's.
        """
        spread_ms = seconds(self._device.rules.spread) * 1000
        beyond = self._store.outbox.beyond(now_ms + max(spread_ms, round(LONGEST_WAIT_SECONDS * 1000)), most)
        if beyond:
            with self._store.transaction():
                self._store.outbox.wait((now_ms + secrets.randbelow(spread_ms + 1), one) for one in beyond)

    @property
    def expiry_seconds(self) -> int:
        """See `Pipeline.expiry_seconds`.

        What is left of a window's horizon would tell broker and aggregator, outside the seal, which window it is and by
        how many seconds this device's clock is wrong: the same in all its reports, and so a name.
        """
        return seconds(self._device.rules.late_horizon) + seconds(self._device.rules.spread)

    def note_sent(self, handed: Sequence[Handed]) -> None:
        """See `Pipeline.note_sent`."""
        if handed:
            with self._store.transaction():
                self._store.outbox.note_sent(handed)

    def settle(self, receipts: Sequence[Receipt]) -> int:
        """See `Pipeline.settle`."""
        authentic: dict[OutboxRow, int] = {}
        for receipt in receipts:
            row = self._store.outbox.find(receipt.report_id)
            if row is None:  # another device's, or a repeated receipt
                continue
            if receipt.authentic(row.receipt_key):
                authentic.setdefault(row, receipt.verdict)
            else:
                self._forged += 1
        if authentic:
            with self._store.transaction():
                for row, verdict in authentic.items():
                    at_ms = max(self._device.clock.now_ms(), row.created_at_ms)  # a clock set back forgets none early
                    self._store.outbox.settle(row, verdict, at_ms)
                    self._store.count("reports_settled", verdict_name(verdict))
        if authentic or not self._is_forgery_told:
            self._write_forged()
        return len(authentic)

    def _write_forged(self) -> None:
        """The first at once, then now and then: who may write the topic shall not make the device write."""
        if self._forged:
            with self._store.transaction():
                self._store.count("receipts_forged", by=self._forged)
            self._forged, self._is_forgery_told = 0, True

    def give_up_old(self, now_ms: int) -> Iterator[int]:
        """Stop sending what nobody would take any more, and forget what was kept for long enough; step by step."""
        self._write_forged()
        for plan in self._device.policy.plans.values():  # of one policy: another may come between two steps
            while self._give_up(plan, now_ms) == STEP_REPORTS:
                yield 0
        while self._give_up_others(now_ms) == STEP_REPORTS:
            yield 0
        while self._forget_sent(now_ms) == STEP_REPORTS:
            yield 0

    @property
    def kept_seconds(self) -> int:
        """How long a report is kept after its receipt: never so short that it could not be asked for again."""
        rules = self._device.rules
        kept = rules.retention.metrics
        return max(seconds(rules.late_horizon), 0 if kept is None else seconds(kept))

    def _give_up(self, plan: MetricPlan, now_ms: int) -> int:
        too_late = give_up_before(self._device.rules, plan, now_ms)
        with self._store.transaction():
            given_up = self._store.outbox.give_up(plan.name, too_late, now_ms, STEP_REPORTS)
            self._store.count("reports_given_up", plan.name, by=given_up)
        return given_up

    def _give_up_others(self, now_ms: int) -> int:
        before_ms = now_ms - seconds(self._device.rules.late_horizon) * 1000
        with self._store.transaction():
            given_up = self._store.outbox.give_up_others(self._device.policy.plans, before_ms, now_ms, STEP_REPORTS)
            self._store.count("reports_given_up", "METRIC_LEFT_THE_POLICY", by=given_up)
        return given_up

    def _forget_sent(self, now_ms: int) -> int:
        at_ms = self._device.clock.now_ms()
        with self._store.transaction():
            gone = self._store.sent.forget(now_ms - self.kept_seconds * 1000, STEP_REPORTS)
            for metric, first, last, reports in gone:
                receipt = Deletion(at_ms, "sent", metric, first, last + 1 - first, reports, Why.EXPIRED)
                self._store.deletions.add_up(receipt)
        return sum(one.reports for one in gone)
