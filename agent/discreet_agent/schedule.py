"""Which windows are over and not yet closed: plain arithmetic over the policy and the stored schedule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from discreet_agent.store.tallies import Scheduled
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


def begun_windows(policy: VerifiedPolicy, next_windows: Mapping[str, int], now_ms: int) -> list[tuple[int, MetricPlan]]:
    """(start, metric) of every window that has begun and is not closed: by start, then in the policy's order."""
    begun = []
    for plan in policy.plans.values():
        if plan.name in next_windows:
            first = max(next_windows[plan.name], _earliest(policy.policy, plan, now_ms, spread_seconds=0))
            begun += [(start, plan) for start in range(first, now_ms // 1000 + 1, plan.metric.window_seconds)]
    return sorted(begun, key=lambda item: item[0])


def due_windows(policy: VerifiedPolicy, next_windows: Mapping[str, int], now_ms: int) -> Iterator[Due]:
    """Windows to close now, oldest first. After an absence: every missed one that is still within the horizon."""
    lateness = seconds(policy.policy.lateness)
    starts: dict[tuple[int, int], list[MetricPlan]] = {}
    expired: dict[str, int] = {}
    for plan in policy.plans.values():
        if plan.name not in next_windows:  # not enrolled yet
            continue
        length = plan.metric.window_seconds
        following = next_windows[plan.name]
        first = max(following, _earliest(policy.policy, plan, now_ms, spread_seconds=0))
        expired[plan.name] = (first - following) // length
        for start in range(first, now_ms // 1000 - lateness - length + 1, length):
            starts.setdefault((start, start + length), []).append(plan)
    for (start, end), plans in sorted(starts.items(), key=lambda item: item[0]):
        yield Due(start, end, tuple(plans), {plan.name: expired.pop(plan.name, 0) for plan in plans})


def first_window(plan: MetricPlan, scheduled: Scheduled | None, since_ms: int, now_ms: int) -> int | None:
    """Start of the window to begin with, for a metric that is new here, redefined, or under a new consent; else None.

    It is always a whole window that has not begun yet: what was counted of an earlier one, under
    another definition or before the consent, says nothing about it.
    """
    length = plan.metric.window_seconds
    earliest = -(-now_ms // 1000)
    if scheduled is not None and scheduled.since_ms == since_ms:
        if (scheduled.version, scheduled.window_seconds) == (plan.version, length):
            return None
        earliest = max(earliest, scheduled.next_window)
    return -(-earliest // length) * length


def draw_number(plan: MetricPlan, first: int, start: int) -> int:
    """Which of a memoised metric's permanent responses serves the window at `start`; `first` is its first window.

    A new one is due at dates that the policy fixes, whole multiples of `redraw` since the epoch, whatever the values
    do. When all are drawn, the last one serves for ever. A window before the first one is closed where a clock that
    was ahead is set right and the metric enrolled anew; it takes the first response, since no other is paid for.
    """
    if plan.metric.redraw is None:
        return 0
    period = seconds(plan.metric.redraw)
    return min(max(start // period - first // period, 0), plan.metric.draws - 1)


def give_up_before(policy: Policy, plan: MetricPlan, now_ms: int) -> int:
    """First window start for which the aggregator still takes a report; everything before is too late."""
    return _earliest(policy, plan, now_ms, spread_seconds=seconds(policy.spread))


def _earliest(policy: Policy, plan: MetricPlan, now_ms: int, *, spread_seconds: int) -> int:
    """The same for a report that may yet wait: a draw leaves the whole spread for its way."""
    length = plan.metric.window_seconds
    tolerated = seconds(policy.lateness) + seconds(policy.late_horizon) + spread_seconds
    earliest = now_ms // 1000 - tolerated - length
    return max(-(-earliest // length) * length, 0)
