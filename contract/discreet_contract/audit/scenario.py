"""Two neighbouring devices for one metric: events that give its lowest and its highest value, and beyond.

Events reach past the metric's bounds where they can, so that a value that is clamped too late
shows. Written from the policy alone; whether a device counts as it should is for the draws
to tell.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from discreet_contract.accounting import DAY_SECONDS
from discreet_contract.condition import holds
from discreet_contract.mechanisms.histogram import bucket_of
from discreet_contract.mechanisms.open_strings import cell_of
from discreet_contract.policy.model import BooleanField, CategoryField, NumberField, TextField

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.condition import FieldValue
    from discreet_contract.policy.model import Field, Signal
    from discreet_contract.policy.plan import MetricPlan

MAX_EVENTS = 2000  # of one device and window; more take longer than they teach
_BEYOND = 3  # how many ranges past the bound a total is driven, where events allow
_TRIES = 20_000  # combinations of field values that are tried against a condition
_TEXT = "audited"  # what a device says into a text field
_ORDERED = ("binary", "count", "mean")  # types whose values have a lowest and a highest
_ZERO_IF_SILENT = ("count", "sum", "active_days")
_FIRST_MS = 1000  # after the window's start

Fields = dict[str, "FieldValue"]


@dataclass(frozen=True, slots=True)
class Script:
    """What one device records in every window, and the bounded value that this must come to (None: not known)."""

    signal: str
    version: str
    events: tuple[tuple[int, Fields], ...]  # (milliseconds after the window's start, fields)
    value: int | None

    def lines(self, window_start: int) -> Iterator[tuple[int, list[bytes]]]:
        """(time in ms, event lines as an app writes them), in batches by time."""
        for offset, batch in itertools.groupby(self.events, key=lambda event: event[0]):
            at_ms = window_start * 1000 + offset
            yield at_ms, [self._line(at_ms, fields) for _, fields in batch]

    def _line(self, at_ms: int, fields: Fields) -> bytes:
        event = {"signal": self.signal, "version": self.version, "time": at_ms, "fields": fields}
        return json.dumps(event, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Devices that differ in what happened to them, for one metric. `silent` recorded nothing."""

    silent: Script
    low: Script
    high: Script


def neighbours(plan: MetricPlan, signal: Signal) -> Neighbours:
    """The silent device; one at the lowest value that events can give (often the silent one); one at the highest."""
    silent = _script(plan, signal, (), _silent_value(plan))
    known = [silent, *(script for script in _candidates(plan, signal) if script.value is not None)]
    if plan.metric.type not in _ORDERED:
        other = [script for script in known if script.value != silent.value]
        return Neighbours(silent, silent, other[-1] if other else silent)
    low = min(known, key=lambda script: script.value or 0)
    return Neighbours(silent, low, max(known[::-1], key=lambda script: script.value or 0))


def _script(plan: MetricPlan, signal: Signal, events: tuple[tuple[int, Fields], ...], value: int | None) -> Script:
    return Script(plan.metric.from_, signal.version, events, value)


def _silent_value(plan: MetricPlan) -> int:
    """What a device with nothing to say must come to."""
    match plan.metric.type:
        case "category":
            return len(plan.mechanism.labels) - 1
        case "histogram" if plan.metric.reduction not in _ZERO_IF_SILENT:
            return len(plan.mechanism.labels) - 1
        case "open":
            return cell_of("", plan.metric.salt)
    return _reported(plan, 0)


def _reported(plan: MetricPlan, number: int) -> int:
    """The bounded value of a window that came to this number."""
    match plan.metric.type:
        case "count" | "mean":
            return min(max(number, plan.low), plan.high)
        case "histogram":
            return bucket_of(number, plan.edges)
    return number


def _span(plan: MetricPlan) -> tuple[int, int]:
    """Numbers between which a metric's value lies, and past which events should drive it."""
    return (min(0, plan.edges[0]), max(1, plan.edges[-1])) if plan.edges else (plan.low, plan.high)


def _candidates(plan: MetricPlan, signal: Signal) -> Iterator[Script]:
    """Scripts of devices that recorded something the metric counts."""
    matching = list(itertools.islice(_matching(plan, signal), 1000))
    if not matching:
        return
    low, high = _span(plan)
    match plan.metric.reduction:
        case "any":
            yield _script(plan, signal, ((_FIRST_MS, matching[0]),), 1)
        case "count":
            events = min(MAX_EVENTS, high + _BEYOND * (high - low))
            yield _script(plan, signal, ((_FIRST_MS, matching[0]),) * events, _reported(plan, events))
        case "active_days":
            days = max(1, plan.metric.window_seconds // DAY_SECONDS)
            daily = tuple((_FIRST_MS + day * DAY_SECONDS * 1000, matching[0]) for day in range(days))
            yield _script(plan, signal, daily, _reported(plan, days))
        case _ if plan.metric.type == "multi_select":
            yield _selecting(plan, signal, matching)
        case _:
            for fields in matching:
                yield _reading(plan, signal, fields)


def _selecting(plan: MetricPlan, signal: Signal, matching: list[Fields]) -> Script:
    """As many different categories as may be held, one event each."""
    by_category = {str(fields[plan.metric.field]): fields for fields in matching}
    held = list(by_category)[-(plan.metric.at_most or 1) :]
    mask = sum(1 << plan.mechanism.labels.index(name) for name in held)
    return _script(plan, signal, tuple((_FIRST_MS, by_category[name]) for name in held), mask)


def _reading(plan: MetricPlan, signal: Signal, fields: Fields) -> Script:
    """One event for reductions that read a field; as many as a sum takes."""
    field, value = signal.fields.get(plan.metric.field), fields.get(plan.metric.field)
    one = ((_FIRST_MS, fields),)
    if isinstance(field, CategoryField):
        return _script(plan, signal, one, field.values.index(str(value)))
    if isinstance(field, TextField):
        return _script(plan, signal, one, cell_of(str(value), plan.metric.salt))
    if not isinstance(field, NumberField) or isinstance(value, bool | str | None):
        return _script(plan, signal, one, None)
    step = round(float(value) / plan.grid)
    if plan.metric.reduction != "sum":
        return _script(plan, signal, one, _reported(plan, step))
    low, high = _span(plan)
    wanted = max(abs(low), abs(high)) + _BEYOND * (high - low)
    events = min(MAX_EVENTS, math.ceil(wanted / abs(step))) if step else 1
    return _script(plan, signal, one * events, _reported(plan, step * events))


def _matching(plan: MetricPlan, signal: Signal) -> Iterator[Fields]:
    """Legal fields that satisfy the metric's `where`, trying every combination of telling values."""
    where = plan.metric.where
    varied = _variables(where) | ({plan.metric.field} & signal.fields.keys())
    constants = set(_constants(where))
    choices = {
        name: list(_choices(field, constants)) if name in varied else [_default(field)]
        for name, field in signal.fields.items()
    }
    for values in itertools.islice(itertools.product(*choices.values()), _TRIES):
        fields = dict(zip(choices, values, strict=True))
        if where is None or holds(where, fields):
            yield fields


def _choices(field: Field, constants: set[Any]) -> Iterator[FieldValue]:
    match field:
        case NumberField():
            numbers = [c for c in constants if isinstance(c, int | float) and not isinstance(c, bool)]
            near = {number + step * field.grid for number in numbers for step in (-1, 0, 1)}
            yield from sorted({field.min, field.max, *(number for number in near if field.min <= number <= field.max)})
        case CategoryField():
            yield from field.values
        case BooleanField():
            yield from (False, True)
        case TextField():
            yield _default(field)


def _default(field: Field) -> FieldValue:
    match field:
        case NumberField():
            return field.min
        case CategoryField():
            return field.values[0]
        case TextField():
            return _TEXT[: field.max_length]
    return False


def _variables(condition: Any) -> set[str]:
    if isinstance(condition, dict):
        found = {condition["var"]} if isinstance(condition.get("var"), str) else set()
        return found.union(*map(_variables, condition.values()))
    return set().union(*map(_variables, condition)) if isinstance(condition, list) else set()


def _constants(condition: Any) -> Iterator[Any]:
    if isinstance(condition, dict):
        for part in condition.values():
            yield from _constants(part)
    elif isinstance(condition, list):
        for part in condition:
            yield from _constants(part)
    else:
        yield condition
