"""The aggregator asks for reports again: the same bytes go back to the outbox, once a request, never a new draw."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from discreet_agent.schedule import give_up_before
from discreet_contract.durations import seconds
from discreet_contract.resend import ResendRefusal, judge_resend, read_resend

if TYPE_CHECKING:
    from discreet_agent.budget_clock import BudgetClock
    from discreet_agent.steps.device import Device
    from discreet_agent.store.outbox import OutboxRow
    from discreet_agent.store.store import Store

STEP_REPORTS = 500  # put back in one transaction

# A fact that outlives a restart: the latest request that was obeyed, and whether all of it is done.
_RESEND = "resend"


class Resending:
    """Obeys each newer request once, under one policy after another."""

    def __init__(self, device: Device, store: Store, time: BudgetClock) -> None:
        self._store = store
        self._time = time
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device

    def hear(self, content: bytes) -> ResendRefusal | None:
        """Take a request; one that was obeyed already, and an older one, change nothing. Returns why it is refused."""
        rules, now_ms = self._device.rules, self._device.clock.now_ms()
        asked = read_resend(content, rules.fleet, rules.aggregator.keys)
        if isinstance(asked, ResendRefusal):
            return asked
        former = self._store.recall(_RESEND)
        if former is not None and asked.time_ms <= former["time_ms"]:
            return None
        refusal = judge_resend(asked, now_ms, seconds(rules.late_horizon) * 1000)
        if refusal is not None:
            return refusal
        start = asked.from_start
        if former is not None and former["is_pending"]:  # what that one asked for is still owed
            start = min(start, former["from_start"])
        obeyed = {"time_ms": asked.time_ms, "from_start": start, "reason": asked.reason}
        with self._store.transaction():
            self._store.remember(_RESEND, obeyed | {"obeyed_ms": now_ms, "is_pending": True})
            self._store.count("resends_obeyed")
        return None

    def step(self) -> int:
        """Put some of what was asked for back into the outbox; returns how many reports."""
        obeyed = self._store.recall(_RESEND)
        if obeyed is None or not obeyed["is_pending"]:
            return 0
        rows = self._asked_for(obeyed["from_start"], obeyed["obeyed_ms"])
        now_ms, spread_ms = self._device.clock.now_ms(), seconds(self._device.rules.spread) * 1000
        with self._store.transaction():
            for row in rows:
                self._store.sent.take_out(row.report_id)
                self._store.outbox.add(replace(row, not_before_ms=now_ms + secrets.randbelow(spread_ms + 1)))
                self._store.count("reports_resent", row.metric)
            self._store.remember(_RESEND, obeyed | {"is_pending": bool(rows)})
        return len(rows)

    def _asked_for(self, from_start: int, obeyed_ms: int) -> list[OutboxRow]:
        """Some of what was settled before the request was heard, and is not too late."""
        found: list[OutboxRow] = []
        for metric in self._store.sent.metrics():
            start = max(from_start, self._earliest(metric))
            room = STEP_REPORTS - len(found)
            now_ms = self._device.clock.now_ms()
            found += self._store.sent.to_resend(metric, start, obeyed_ms, now_ms, room) if room else []
        return found

    def _earliest(self, metric: str) -> int:
        """First window that the aggregator still takes; of a metric that left the policy at least so late.

        By proven time: a clock that is far ahead would skip windows of a request that is obeyed once.
        """
        rules, now_ms = self._device.rules, self._time.now_ms()
        plan = self._device.policy.plans.get(metric)
        if plan is None:
            return now_ms // 1000 - seconds(rules.late_horizon)
        return give_up_before(rules, plan, now_ms)
