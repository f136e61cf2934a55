"""A feature of a checked policy, compiled: which events concern it, into which bucket, under which key.

Its state has a version of its own: the hash of all that decides what a state is. A change of what is only read
(fallback, top, quantile) goes on with the same buckets; any other begins anew from stored events.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.features.days import Days
from discreet_agent.features.extremes import Extreme, Last, TimeSince
from discreet_agent.features.gathered import Distinct, Quantile, Sessions
from discreet_agent.features.grid import make_grid
from discreet_agent.features.sums import Count, Decayed, Sum, scale_of
from discreet_contract.condition import compile_condition
from discreet_contract.durations import seconds
from discreet_contract.policy.logic import variables
from discreet_contract.policy.model import CategoryField, NumberField, TextField, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from discreet_agent.event import Event
    from discreet_agent.features.grid import Grid
    from discreet_agent.features.states import Aggregate
    from discreet_contract.condition import Predicate
    from discreet_contract.policy.model import Field, Policy, Signal
    from discreet_contract.policy.personalization import Feature

_STATE_FORM = "features-1"  # of the states themselves; another one begins them anew
_ONLY_READ = frozenset({"fallback", "default", "ttl", "top", "quantile"})
EVERYTHING = ""  # the key of a feature without `by`


@dataclass(frozen=True, slots=True)
class Definition:
    """One feature, ready to run."""

    name: str
    feature: Feature
    signal: str
    version: str  # hash of all that decides its value
    state_version: str  # hash of all that decides its states
    grid: Grid
    aggregate: Aggregate
    order: tuple[str, ...]  # categories of `by` as declared; () without
    _readable: Callable[[Sequence[Event]], Sequence[Event]] | None
    _where: Predicate | None

    def chosen(self, events: Sequence[Event]) -> Sequence[Event]:
        """Those events of the signal that count in this feature."""
        if self._readable is not None:
            events = self._readable(events)
        where = self._where
        return events if where is None else [event for event in events if where(event.fields)]

    def by_key(self, events: Sequence[Event]) -> Mapping[str, Sequence[Event]]:
        """Chosen events by category; all under one key where the feature has no `by`."""
        if self.feature.by is None:
            return {EVERYTHING: events}
        parts: dict[str, list[Event]] = {}
        for event in events:
            parts.setdefault(str(event.fields[self.feature.by]), []).append(event)
        return parts


def compile_features(policy: Policy) -> dict[str, Definition]:
    """Every feature of a checked policy, by name."""
    most_kept = None if policy.retention.enriched is None else seconds(policy.retention.enriched)
    return {name: _compile(name, feature, policy, most_kept) for name, feature in policy.features.items()}


def _compile(name: str, feature: Feature, policy: Policy, most_kept: int | None) -> Definition:
    signal = policy.signals[feature.from_]
    grid = make_grid(feature, most_kept)
    by = None if feature.by is None else signal.fields[feature.by]
    return Definition(
        name=name,
        feature=feature,
        signal=feature.from_,
        version=_hash(feature, {name: msgspec.to_builtins(field) for name, field in _fields_read(feature, signal)}),
        state_version=_state_hash(feature, signal, grid.width),
        grid=grid,
        aggregate=_aggregate(feature, signal),
        order=by.values if isinstance(by, CategoryField) else (),
        _readable=_readable(feature, signal),
        _where=None if feature.where is None else compile_condition(feature.where),
    )


def _aggregate(feature: Feature, signal: Signal) -> Aggregate:
    name = feature.value or ""
    field = signal.fields.get(name)
    low, high = (field.min, field.max) if isinstance(field, NumberField) else (0.0, 1.0)
    half_life_ms = 1000 * seconds(feature.half_life or "1s")
    makers: dict[str, Callable[[], Aggregate]] = {
        "count": Count,
        "sum": partial(Sum, name, scale_of(low, high)),
        "mean": partial(Sum, name, scale_of(low, high), is_mean=True),
        "min": partial(Extreme, name, is_max=False),
        "max": partial(Extreme, name, is_max=True),
        "last": partial(Last, name),
        "distinct": partial(Distinct, name, feature.at_most or 1, isinstance(field, TextField)),
        "decayed_count": partial(Decayed, "", scale_of(0, 1), half_life_ms),
        "decayed_sum": partial(Decayed, name, scale_of(low, high), half_life_ms),
        "quantile": partial(Quantile, name, feature.quantile or 0.5, low, high),
        "time_since": TimeSince,
        "active_days": partial(Days, is_streak=False),
        "streak": partial(Days, is_streak=True),
        "session": partial(Sessions, 1000 * seconds(feature.gap or "1s"), is_length=feature.measure == "length"),
    }
    return makers[feature.aggregate]()


def _readable(feature: Feature, signal: Signal) -> Callable[[Sequence[Event]], Sequence[Event]] | None:
    """An event stored under an earlier policy may lack a field, or hold a value that is no longer declared."""
    tests = [
        (name, frozenset(field.values) if isinstance(field, CategoryField) else None)
        for name, field in ((name, signal.fields[name]) for name in (feature.value, feature.by) if name is not None)
    ]
    if not tests:
        return None

    def readable(events: Sequence[Event]) -> Sequence[Event]:
        for name, values in tests:
            if values is None:
                events = [event for event in events if name in event.fields]
            else:
                events = [event for event in events if event.fields.get(name) in values]
        return events

    return readable


def _fields_read(feature: Feature, signal: Signal) -> list[tuple[str, Field]]:
    names = {feature.value, feature.by, *variables(feature.where)} & signal.fields.keys()
    return [(name, signal.fields[name]) for name in sorted(map(str, names))]


def _state_hash(feature: Feature, signal: Signal, width: int) -> str:
    """Bounds of numbers decide their steps; a category that is added or dropped changes no state."""
    bounds = {
        name: [field.min, field.max] if isinstance(field, NumberField) else [kind_of(field)]
        for name, field in _fields_read(feature, signal)
    }
    return _hash(feature, [_STATE_FORM, bounds, width], left_out=_ONLY_READ)


def _hash(feature: Feature, more: Any, left_out: frozenset[str] = frozenset()) -> str:
    plain = msgspec.to_builtins(feature)
    meaning = {key: value for key, value in plain.items() if key != "why" and key not in left_out}
    return blake2b(msgspec.json.encode([meaning, more], order="deterministic"), digest_size=8).hexdigest()
