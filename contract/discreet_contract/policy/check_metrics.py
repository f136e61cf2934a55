"""Does each metric fit its signal, its type and its mechanism? Every misfit is an error at a path."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from discreet_contract.accounting import DAY_SECONDS
from discreet_contract.condition import problems as condition_problems
from discreet_contract.durations import seconds
from discreet_contract.mechanisms.catalogue import CARRIERS, fits
from discreet_contract.mechanisms.discrete_laplace import MAX_RANGE
from discreet_contract.mechanisms.memoised import MemoisedResponse
from discreet_contract.policy.measured import PAYLOAD_LIMIT, grid_of, measure, mechanism_id
from discreet_contract.policy.model import CategoryField, field_kinds, kind_of
from discreet_contract.policy.plan import build_mechanism
from discreet_contract.policy.shape import ShapeProblem, closest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Metric, Policy, Signal
    from discreet_contract.policy.shape import Path

MAX_WINDOW_SECONDS = 366 * DAY_SECONDS

_NUMBERS = ("mean", "histogram")
# reduction → kind of field it reads ("" for none) → metric types that gives
_REDUCTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "any": {"": ("binary",)},
    "count": {"": ("count", "histogram")},
    "active_days": {"": ("count", "histogram")},
    "sum": {"number": _NUMBERS},
    "mean": {"number": _NUMBERS},
    "min": {"number": _NUMBERS},
    "max": {"number": _NUMBERS},
    "last": {"number": _NUMBERS, "category": ("category",), "text": ("open",)},
    "most_frequent": {"category": ("category", "multi_select"), "text": ("open",)},
}
# key → the one metric type that takes it; where that type needs it, what for
_OWN_KEYS = {
    "edges": ("histogram", "the edges of its buckets, like [1, 5, 20]"),
    "at_most": ("multi_select", "how many values one device may give at the most"),
    "salt": ("open", "a text of its own, under which strings are hashed"),
    "dictionary": ("open", ""),
}
_MEMOISABLE = ("binary", "category")


def check_metric(policy: Policy, metric: Metric, path: Path) -> Iterator[ShapeProblem]:
    """Everything that makes this metric impossible to obey."""
    signal = policy.signals.get(metric.from_)
    if signal is None:
        near = closest(metric.from_, list(policy.signals))
        yield ShapeProblem((*path, "from"), "UNKNOWN_SIGNAL", f"no signal {metric.from_!r}{near}")
        return
    if metric.where is not None:
        for message in condition_problems(metric.where, field_kinds(signal)):
            yield ShapeProblem((*path, "where"), "CONDITION", message)
    if not 60 <= seconds(metric.window) <= MAX_WINDOW_SECONDS:
        yield ShapeProblem((*path, "window"), "WINDOW", "a window is at least one minute and at most 366 days")
    if len(metric.per_device) != 1:
        message = 'exactly one reduction, like {count: ""} or {sum: seconds}'
        yield ShapeProblem((*path, "per_device"), "REDUCTION", message)
        return
    misfits = [*_check_reduction(signal, metric, path), *_check_bounds(signal, metric, path)]
    misfits += [*_check_own_keys(signal, metric, path), *_check_memoised(metric, path)]
    yield from misfits
    if not misfits:
        yield from _check_mechanism(signal, metric, path)


def _check_reduction(signal: Signal, metric: Metric, path: Path) -> Iterator[ShapeProblem]:
    at = (*path, "per_device")
    readable = _REDUCTIONS[metric.reduction]
    types = [one for kind in readable.values() for one in kind]
    if metric.type not in types:
        message = f"{metric.reduction!r} gives {' or '.join(dict.fromkeys(types))}, not {metric.type}"
        yield ShapeProblem((*path, "type"), "REDUCTION", message)
    if "" in readable:
        if metric.field:
            message = f'{metric.reduction!r} reads no field; write {{{metric.reduction}: ""}}'
            yield ShapeProblem(at, "REDUCTION", message)
        return
    field = signal.fields.get(metric.field)
    if field is None:
        near = closest(metric.field, list(signal.fields))
        yield ShapeProblem(at, "UNKNOWN_FIELD", f"signal {metric.from_!r} has no field {metric.field!r}{near}")
        return
    kind = kind_of(field)
    wanted = [one for one, given in readable.items() if metric.type in given] or list(readable)
    if kind not in wanted:
        reads = f"{metric.reduction!r} reads a {' or '.join(wanted)}"
        yield ShapeProblem(at, "REDUCTION", f"{reads}, {metric.field!r} is a {kind}")


def _check_bounds(signal: Signal, metric: Metric, path: Path) -> Iterator[ShapeProblem]:
    at = (*path, "bounds")
    if metric.type not in {"count", "mean"}:
        if metric.bounds is not None:
            yield ShapeProblem(at, "BOUNDS", f"a {metric.type} metric has no bounds")
        return
    if metric.bounds is None:
        yield ShapeProblem(path, "BOUNDS", f"a {metric.type} metric needs bounds: [low, high] per device and window")
        return
    low, high = metric.bounds
    grid = grid_of(signal, metric)
    if not low < high:
        yield ShapeProblem(at, "BOUNDS", "low < high")
    elif (high - low) / grid / metric.epsilon > MAX_RANGE or max(-low, high) / grid > 2**31 / 2:
        yield ShapeProblem(at, "BOUNDS", "range too wide for a four-byte payload; use a coarser grid")
    elif not all(_lies_on(bound, grid) for bound in (low, high)):
        yield ShapeProblem(at, "BOUNDS", f"bounds lie on the grid of {grid:g}")
    elif metric.type == "count" and low < 0:
        yield ShapeProblem(at, "BOUNDS", "a count is never below 0")


def _check_own_keys(signal: Signal, metric: Metric, path: Path) -> Iterator[ShapeProblem]:
    for key, (owner, what_for) in _OWN_KEYS.items():
        has_one = bool(getattr(metric, key))
        if has_one and metric.type != owner:
            yield ShapeProblem((*path, key), "KEY_MISPLACED", f"only a metric of type {owner} has `{key}`")
        if not has_one and metric.type == owner and what_for:
            yield ShapeProblem(path, "KEY_MISSING", f"a metric of type {owner} needs `{key}`: {what_for}")
    field = signal.fields.get(metric.field)
    if metric.at_most and isinstance(field, CategoryField) and metric.at_most > len(field.values):
        yield ShapeProblem((*path, "at_most"), "VALUE", f"{metric.field!r} has {len(field.values)} values")
    if metric.edges:
        yield from _check_edges(signal, metric, (*path, "edges"))
    if len(set(metric.dictionary)) < len(metric.dictionary):
        yield ShapeProblem((*path, "dictionary"), "DUPLICATE", "a word stands twice")


def _check_edges(signal: Signal, metric: Metric, path: Path) -> Iterator[ShapeProblem]:
    grid = grid_of(signal, metric)
    if not all(map(math.isfinite, metric.edges)) or any(a >= b for a, b in pairwise(metric.edges)):
        yield ShapeProblem(path, "EDGES", "edges are finite numbers that rise")
    elif not all(_lies_on(edge, grid) for edge in metric.edges):
        yield ShapeProblem(path, "EDGES", f"edges lie on the grid of {grid:g}")


def _check_memoised(metric: Metric, path: Path) -> Iterator[ShapeProblem]:
    if not metric.is_memoised:
        for key in ("redraw", "draws"):
            if getattr(metric, key) not in {None, 1}:
                yield ShapeProblem((*path, key), "KEY_MISPLACED", f"only a memoised metric has `{key}`")
        return
    if metric.type not in _MEMOISABLE:
        message = f"only {' and '.join(_MEMOISABLE)} metrics can be memoised"
        yield ShapeProblem((*path, "longitudinal"), "MEMOISED", message)
    if metric.rotate is not None:
        yield ShapeProblem((*path, "rotate"), "MEMOISED", "a memoised metric costs once, so there is no turn to take")
    if metric.draws > 1 and metric.redraw is None:
        yield ShapeProblem(path, "KEY_MISSING", "more than one draw needs `redraw`: after how long, like 365d")
    if metric.redraw is not None and seconds(metric.redraw) % max(seconds(metric.window), 1):
        yield ShapeProblem((*path, "redraw"), "MEMOISED", "a whole number of windows")


def _check_mechanism(signal: Signal, metric: Metric, path: Path) -> Iterator[ShapeProblem]:
    at = (*path, "mechanism")
    fitting = (MemoisedResponse.id,) if metric.is_memoised else CARRIERS[metric.type]
    if metric.mechanism not in {"auto", *fitting}:
        what = f"a memoised {metric.type}" if metric.is_memoised else f"a {metric.type}"
        yield ShapeProblem(at, "MECHANISM", f"{metric.mechanism} cannot carry {what} metric; {', '.join(fitting)} can")
        return
    measured = measure(signal, metric)
    taken = mechanism_id(signal, metric)
    if not fits(taken, measured.shape):
        yield ShapeProblem(at, "MECHANISM", f"{taken} does not take a metric of this size; write `auto`")
    elif build_mechanism(taken, metric, measured).payload_bytes > PAYLOAD_LIMIT:
        yield ShapeProblem(at, "MECHANISM", f"{taken} would need more than {PAYLOAD_LIMIT} bytes; write `auto`")


def _lies_on(number: float, grid: float) -> bool:
    return abs(number / grid - round(number / grid)) <= 1e-9
