"""A window's events of one metric, folded into a small state; the state → one integer.

Folding is commutative: any order of arrival gives the same state. States are MessagePack
builtins so that they can be kept as rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_contract.condition import holds
from discreet_contract.policy.model import CategoryField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.event import Event
    from discreet_contract.policy.model import Metric, Signal
    from discreet_contract.policy.plan import MetricPlan

DAY_MS = 86_400_000
_LARGEST = 2**62


def concerns(metric: Metric, event: Event) -> bool:
    """Whether an event counts for a metric: its signal, its `where`, and the field that is read."""
    if metric.from_ != event.signal:
        return False
    if metric.field and metric.field not in event.fields:
        return False
    return metric.where is None or holds(metric.where, event.fields)


def fold(plan: MetricPlan, signal: Signal, state: Any, event: Event) -> Any:
    """State after one more event; `state` is None before the first."""
    metric = plan.metric
    match metric.reduction:
        case "any":
            return 1
        case "count":
            return (state or 0) + 1
        case "active_days":
            return sorted({*(state or []), event.time_ms // DAY_MS})
    value = _as_integer(plan, signal, event)
    match metric.reduction:
        case "sum":
            return _saturated((state or 0) + value)
        case "mean":
            total, events = state or (0, 0)
            return [_saturated(total + value), events + 1]
        case "min":
            return value if state is None else min(state, value)
        case "max":
            return value if state is None else max(state, value)
        case "last":
            return max(state or [-1, 0], [event.time_ms, value])
        case "most_frequent":
            counts = dict(state or {})
            counts[value] = counts.get(value, 0) + 1
            return counts


def conclude(plan: MetricPlan, state: Any) -> int:
    """The window's integer, not yet bounded. A device with nothing to say gives its zero (for a category, `none`)."""
    is_category = plan.metric.type == "category"
    if state is None:
        return plan.high if is_category else 0
    match plan.metric.reduction:
        case "active_days":
            return len(state)
        case "mean":
            total, events = state
            return _round_half_up(total, events)
        case "last":
            return int(state[1])
        case "most_frequent":
            return _most_frequent(state)
    return int(state)


def _saturated(total: int) -> int:
    """Within what a row can keep: no run of legal events may make a state that cannot be stored."""
    return min(max(total, -_LARGEST), _LARGEST)


def _as_integer(plan: MetricPlan, signal: Signal, event: Event) -> int:
    """The read field on the metric's integer grid; a category as its place in the declared order."""
    field = signal.fields[plan.metric.field]
    value = event.fields[plan.metric.field]
    if isinstance(field, CategoryField):
        return field.values.index(str(value))
    return round(float(value) / plan.grid)


def _most_frequent(counts: Mapping[int, int]) -> int:
    """Ties go to the value declared first."""
    return min(counts, key=lambda index: (-counts[index], index))


def _round_half_up(total: int, events: int) -> int:
    return (2 * total + events) // (2 * events)
