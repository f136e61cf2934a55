"""Which windows are over and not yet closed: plain arithmetic over the policy and the stored schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.policy.release import VerifiedPolicy


@dataclass(frozen=True, slots=True)
class Due:
    """One window to close, for the metrics that share it; seconds."""

    start: int
    end: int
    plans: tuple[MetricPlan, ...]
    expired: Mapping[str, int]  # per metric: earlier windows that nobody would take any more


def due_windows(policy: VerifiedPolicy, next_windows: Mapping[str, int], now_ms: int) -> Iterator[Due]:
    """Windows to close now, oldest first. After an absence: every missed one that is still within the horizon."""
    lateness = seconds(policy.policy.lateness)
    starts: dict[tuple[int, int], list[MetricPlan]] = {}
    expired: dict[str, int] = {}
    for plan in policy.plans.values():
        length = plan.metric.window_seconds
        following = next_windows[plan.name]
        first = max(following, give_up_before(policy.policy, plan, now_ms))
        expired[plan.name] = (first - following) // length
        for start in range(first, now_ms // 1000 - lateness - length + 1, length):
            starts.setdefault((start, start + length), []).append(plan)
    for (start, end), plans in sorted(starts.items(), key=lambda item: item[0]):
        yield Due(start, end, tuple(plans), {plan.name: expired.pop(plan.name, 0) for plan in plans})


def give_up_before(policy: Policy, plan: MetricPlan, now_ms: int) -> int:
    """First window start for which the aggregator still takes a report; everything before is too late."""
    length = plan.metric.window_seconds
    tolerated = seconds(policy.lateness) + seconds(policy.spread) + seconds(policy.late_horizon)
    earliest = now_ms // 1000 - tolerated - length
    return max(-(-earliest // length) * length, 0)
