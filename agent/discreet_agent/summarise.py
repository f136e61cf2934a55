"""Contribution bound, then noise: one integer per metric and window becomes one payload.

Nothing that comes out of `bound` may be logged or sent; what comes out of `randomise` may,
once it is charged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.event import BoundedValue, NoisedValue

if TYPE_CHECKING:
    from discreet_contract.mechanisms.memoised import MemoisedResponse
    from discreet_contract.policy.plan import MetricPlan


def bound(plan: MetricPlan, value: int) -> BoundedValue:
    """The device's one value: a number clamped to the metric's public range; the others are bounded by their form."""
    if plan.metric.type in {"category", "histogram", "multi_select", "open"}:
        return BoundedValue(value)
    return BoundedValue(min(max(value, plan.low), plan.high))


def describe(plan: MetricPlan, noised: NoisedValue) -> str:
    """A payload in words, for the device's owner: what it says under the policy of its day."""
    return plan.mechanism.says(plan.mechanism.decode(noised.payload), plan.step)


def randomise(plan: MetricPlan, bounded: BoundedValue) -> NoisedValue:
    """One draw by OpenDP. Its charge stands in the ledger already, in the same transaction."""
    return NoisedValue(plan.mechanism.randomize(bounded.value))


def randomise_memoised(mechanism: MemoisedResponse, stored: int) -> NoisedValue:
    """One draw by OpenDP from the stored permanent response; it adds nothing to what that response may reveal."""
    return NoisedValue(mechanism.randomize_permanent(stored))
