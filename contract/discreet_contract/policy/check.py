"""Do the parts of a well-formed policy fit one another? Every misfit is an error at a path.

Signals, keys and the budget here; the other sections in the modules beside this one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import date
from typing import TYPE_CHECKING

from discreet_contract.accounting import DAY_SECONDS, CapName, cap_to_nano, to_nano
from discreet_contract.durations import seconds
from discreet_contract.envelope import is_usable_key
from discreet_contract.policy.check_metrics import check_metric
from discreet_contract.policy.check_operation import check_operation
from discreet_contract.policy.check_otlp import check_otlp
from discreet_contract.policy.check_personalization import check_personalization
from discreet_contract.policy.check_trials import check_trials
from discreet_contract.policy.model import NONE_LABEL, CategoryField, NumberField, TextField
from discreet_contract.policy.shape import ShapeProblem, closest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Policy, Signal
    from discreet_contract.policy.shape import Path

_ONCE_SECONDS = 10**12  # a memoised metric is charged for a lifetime at its first window, and never again


def check_model(policy: Policy) -> list[ShapeProblem]:
    """Everything that makes this policy impossible to obey."""
    found: list[ShapeProblem] = []
    for name, signal in policy.signals.items():
        found += _check_signal(signal, ("signals", name))
    found += check_otlp(policy)
    for name, metric in policy.metrics.items():
        found += check_metric(policy, metric, ("metrics", name))
    found += _check_rotation(policy)
    found += _check_dates(policy)
    found += _check_collector(policy)
    found += _check_budget(policy)
    found += check_personalization(policy)
    found += check_trials(policy)
    found += check_operation(policy)
    return found


def _check_signal(signal: Signal, path: Path) -> Iterator[ShapeProblem]:
    for name, field in signal.fields.items():
        at = (*path, "fields", name)
        match field:
            case NumberField():
                yield from _check_number(field, at)
            case CategoryField():
                yield from _check_category(field, at)
            case TextField() if field.default is not None and not 1 <= len(field.default) <= field.max_length:
                yield ShapeProblem((*at, "default"), "DEFAULT", f"a text has 1 to {field.max_length} characters")


def _check_number(field: NumberField, at: Path) -> Iterator[ShapeProblem]:
    if not (math.isfinite(field.min) and math.isfinite(field.max) and field.min < field.max):
        yield ShapeProblem(at, "BOUNDS", "a number has finite bounds with min < max")
    elif max(field.max - field.min, abs(field.min), abs(field.max)) / field.grid > 2**53:
        yield ShapeProblem(at, "BOUNDS", "more steps of the grid than a number can tell apart")
    elif field.default is not None and not field.min <= field.default <= field.max:
        yield ShapeProblem((*at, "default"), "DEFAULT", "the default lies outside of the field's own bounds")


def _check_category(field: CategoryField, at: Path) -> Iterator[ShapeProblem]:
    if field.default is not None and field.default not in field.values:
        near = closest(field.default, list(field.values))
        yield ShapeProblem((*at, "default"), "DEFAULT", f"the default {field.default!r} is none of the values{near}")
    if len(set(field.values)) < len(field.values):
        yield ShapeProblem((*at, "values"), "DUPLICATE", "a category value stands twice")
    if NONE_LABEL in field.values:
        yield ShapeProblem((*at, "values"), "RESERVED", f"{NONE_LABEL!r} is implicit: what a silent device says")


def _check_dates(policy: Policy) -> Iterator[ShapeProblem]:
    dated: list[tuple[Path, str]] = [
        (("signals", name, "expires"), signal.expires) for name, signal in policy.signals.items()
    ]
    for index, key in enumerate(policy.aggregator.keys):
        dated += [
            (("aggregator", "keys", index, "from"), key.from_),
            (("aggregator", "keys", index, "until"), key.until),
        ]
        if not is_usable_key(key.public_key):
            message = "nothing can be sealed to this key; take the one that `discreet aggregator keys new` prints"
            yield ShapeProblem(("aggregator", "keys", index, "public_key"), "KEY", message)
        if not key.from_ < key.until:
            yield ShapeProblem(("aggregator", "keys", index, "until"), "DATES", "a key's `from` is before its `until`")
    for path, text in dated:
        try:
            date.fromisoformat(text)
        except ValueError:
            yield ShapeProblem(path, "DATES", f"{text} is not a day of the calendar")
    if len({key.id for key in policy.aggregator.keys}) < len(policy.aggregator.keys):
        yield ShapeProblem(("aggregator", "keys"), "DUPLICATE", "two keys have the same id")


def _check_collector(policy: Policy) -> Iterator[ShapeProblem]:
    host = policy.collector.host
    if host is not None and host.signal not in policy.signals:
        near = closest(host.signal, list(policy.signals))
        yield ShapeProblem(("collector", "host", "signal"), "UNKNOWN_SIGNAL", f"no signal {host.signal!r}{near}")
    if host is not None and seconds(host.every) < 1:
        yield ShapeProblem(("collector", "host", "every"), "VALUE", "at most one sample a second")


def _check_rotation(policy: Policy) -> Iterator[ShapeProblem]:
    for name, metric in policy.metrics.items():
        if metric.rotate is None:
            continue
        group = [other for other in policy.metrics.values() if other.rotate == metric.rotate]
        at = ("metrics", name, "rotate")
        if len(group) < 2:
            near = closest(metric.rotate, [m.rotate for m in policy.metrics.values() if m.rotate and m is not metric])
            yield ShapeProblem(at, "ROTATE", f"nothing takes turns with the only metric of {metric.rotate!r}{near}")
        elif len({other.window_seconds for other in group}) > 1:
            yield ShapeProblem(at, "ROTATE", "metrics that take turns have one `window`")


def _check_budget(policy: Policy) -> Iterator[ShapeProblem]:
    """A single window must fit under every cap, and a device that reports every window must never be refused by one."""
    asked = sum(nano for nano, _ in _rates(policy))
    for cap in CapName:
        limit = cap_to_nano(getattr(policy.budget, cap))
        if asked > limit:
            message = f"one window of every metric costs ε = {asked / 1e9:g}, over the cap of {limit / 1e9:g}"
            yield ShapeProblem(("budget", cap.value), "BUDGET", message)
            return
    if any(window < 60 for _, window in _rates(policy)):
        return  # reported as such, and no day could be meant
    said = len(policy.budget.exhaustible.split())
    if said >= 3:
        return
    for cap, day in first_refusals(policy).items():
        advice = (
            "say so in words, three or more" if said else "send less, raise the cap, or say why under `exhaustible`"
        )
        message = f"a device that reports every window is first refused by this cap on day {day:.4g}; {advice}"
        yield ShapeProblem(("budget", cap.value), "BUDGET", message)


def first_refusals(policy: Policy) -> dict[CapName, float]:
    """For each cap that refuses a device which reports every window: on which day first, within the device's life."""
    life = seconds(policy.budget.device_life) / DAY_SECONDS
    return {cap: day for cap, day in _refusal_days(policy).items() if cap is not CapName.LIFETIME or day < life}


def days_until_spent(policy: Policy) -> float | None:
    """Days until a device that reports every window is first refused by a cap; None if it never is."""
    return min(_refusal_days(policy).values(), default=None)


def _refusal_days(policy: Policy) -> dict[CapName, float]:
    """For each cap that refuses a steady device within a hundred years: on which day first."""
    found: dict[CapName, float] = {}
    for cap, span in ((CapName.PER_28_DAYS, 28), (CapName.PER_365_DAYS, 365), (CapName.LIFETIME, None)):
        day = _day_passed(_rates(policy), cap_to_nano(getattr(policy.budget, cap)), span)
        if day is not None:
            found[cap] = day
    return found


def _rates(policy: Policy) -> list[tuple[int, int]]:
    """(nano-ε, window in seconds) of all that a device charges; of a `rotate` group the dearest member, always."""
    turns: dict[str, tuple[int, int]] = {}
    for name, metric in policy.metrics.items():
        turn = f"rotate {metric.rotate}" if metric.rotate else name
        rate = (to_nano(metric.epsilon), _ONCE_SECONDS if metric.is_memoised else metric.window_seconds)
        turns[turn] = max(turns.get(turn, rate), rate)
    return list(turns.values())


def _day_passed(rates: list[tuple[int, int]], cap: int, span_days: int | None) -> float | None:
    horizon = (span_days or 36_500) * DAY_SECONDS
    if sum(nano * math.ceil(horizon / window) for nano, window in rates) <= cap:
        return None
    # What was charged up to a second only grows, so the first second past the cap is found by halving.
    passed = bisect_right(range(horizon), cap, key=lambda at: sum(nano * (at // w + 1) for nano, w in rates))
    return passed / DAY_SECONDS
