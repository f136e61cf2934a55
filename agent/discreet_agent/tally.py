"""A window's events of one metric, folded into a small state; the state → one integer.

Folding is commutative: any order of arrival gives the same state. States are MessagePack
builtins so that they can be kept as rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_contract.condition import holds
from discreet_contract.mechanisms.histogram import bucket_of
from discreet_contract.mechanisms.open_strings import cell_of
from discreet_contract.policy.model import CategoryField, TextField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.event import Event
    from discreet_contract.policy.model import Metric, Signal
    from discreet_contract.policy.plan import MetricPlan

DAY_MS = 86_400_000
_LARGEST = 2**62
MOST_CELLS = 1000  # different strings that one window counts; the first so many of them


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
            return _counted(dict(state or {}), value)


def _counted(counts: dict[int, int], value: int) -> dict[int, int]:
    if value in counts or len(counts) < MOST_CELLS:
        counts[value] = counts.get(value, 0) + 1
    return counts


def conclude(plan: MetricPlan, state: Any) -> int:
    """The window's integer, not yet bounded. A device with nothing to say gives its zero, or `none`."""
    match plan.metric.type:
        case "category":
            return len(plan.mechanism.labels) - 1 if state is None else _as_index(plan, state)
        case "multi_select":
            return 0 if state is None else sum(1 << index for index in _most_frequent(state, plan.metric.at_most or 1))
        case "open":
            return cell_of("", plan.metric.salt) if state is None else _as_index(plan, state)
        case "histogram":
            return _bucket(plan, state)
    return 0 if state is None else _as_number(plan, state)


def _as_index(plan: MetricPlan, state: Any) -> int:
    return int(state[1]) if plan.metric.reduction == "last" else _most_frequent(state, 1)[0]


def _bucket(plan: MetricPlan, state: Any) -> int:
    """A silent device's sums and counts are 0; it has no mean, least, greatest or last value, and says `none`."""
    if state is None and plan.metric.reduction not in {"count", "sum", "active_days"}:
        return len(plan.mechanism.labels) - 1
    return bucket_of(0 if state is None else _as_number(plan, state), plan.edges)


def _as_number(plan: MetricPlan, state: Any) -> int:
    match plan.metric.reduction:
        case "active_days":
            return len(state)
        case "mean":
            total, events = state
            return _round_half_up(total, events)
        case "last":
            return int(state[1])
    return int(state)


def _saturated(total: int) -> int:
    """Within what a row can keep: no run of legal events may make a state that cannot be stored."""
    return min(max(total, -_LARGEST), _LARGEST)


def _as_integer(plan: MetricPlan, signal: Signal, event: Event) -> int:
    """The read field on the metric's integer grid; a category as its place in the declared order, a text its cell."""
    field = signal.fields[plan.metric.field]
    value = event.fields[plan.metric.field]
    if isinstance(field, CategoryField):
        return field.values.index(str(value))
    if isinstance(field, TextField):
        return cell_of(str(value), plan.metric.salt)
    return round(float(value) / plan.grid)


def _most_frequent(counts: Mapping[int, int], most: int) -> list[int]:
    """Ties go to the value declared first."""
    return sorted(counts, key=lambda index: (-counts[index], index))[:most]


def _round_half_up(total: int, events: int) -> int:
    return (2 * total + events) // (2 * events)
