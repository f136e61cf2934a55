"""Time passes: what has outlived its retention goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.schedule import give_up_before
from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from discreet_agent.budget_clock import BudgetClock
    from discreet_agent.steps.device import Device
    from discreet_agent.store.store import Store


class Forgetting:
    """Forgets under one policy after another."""

    def __init__(self, device: Device, store: Store, time: BudgetClock) -> None:
        self._store = store
        self._time = time
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self._plans = device.policy.plans

    def forget(self) -> int:
        """See `Pipeline.forget`."""
        policy = self._device.rules
        if self._device.why_off is not None:
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
        self._store.truncate_log()
        return gone
