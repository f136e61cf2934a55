"""A feature's buckets → the value that an app is told, with what it rests on.

Gaps are explicit: a value says for which moment it stands, in which share of its window its source was alive, and
whether it comes from the events or from the fallback that the policy declares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.personal.values import Fallback, FeatureValue

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from discreet_agent.features.definition import Definition
    from discreet_agent.features.states import State
    from discreet_agent.personal.values import Output, Plain

    Spans = Sequence[Sequence[int]]  # (first, last) ms in which the source was alive; disjoint


@dataclass(frozen=True, slots=True)
class Buckets:
    """A feature's buckets, and what is missing in them."""

    states: Mapping[int, Mapping[str, State]]  # start → key → state
    partial: Collection[int] = ()  # starts of buckets in which something could not be undone
    complete_since: int = 0  # second; of events before it some were forgotten when the buckets were built up


def read_feature(definition: Definition, buckets: Buckets, alive: Spans, now_ms: int) -> FeatureValue:
    """The value of a moment."""
    coverage = _coverage(definition, alive, now_ms)
    starts = _living(definition, buckets, now_ms)
    if starts or coverage > 0:
        read = _read(definition, buckets, starts, coverage, now_ms)
        if read is not None:
            return read
    return _fallback(definition, buckets, starts, coverage, now_ms)


def _living(definition: Definition, buckets: Buckets, now_ms: int) -> list[int]:
    """Buckets that are not over yet, oldest first. Without a new event for its `ttl` a feature has none."""
    grid, now = definition.grid, now_ms // 1000
    starts = sorted(start for start in buckets.states if start <= now < start + grid.width + grid.kept)
    has_died = bool(starts) and grid.ttl is not None and now >= starts[-1] + grid.width + grid.ttl
    return [] if has_died else starts


def _read(
    definition: Definition,
    buckets: Buckets,
    starts: Sequence[int],
    coverage: float,
    now_ms: int,
    fallback: Fallback = Fallback.NONE,
) -> FeatureValue | None:
    """None where no event says anything."""
    first, last = definition.grid.covered(now_ms)
    covered = [start for start in starts if first <= start <= last]
    value, at_least = _value(definition, buckets, covered, now_ms)
    if value is None:
        return None
    is_partial = first < buckets.complete_since or any(start in buckets.partial for start in covered)
    name, version = definition.name, definition.version
    return FeatureValue(name, version, value, now_ms, coverage, fallback, at_least=at_least, is_partial=is_partial)


def _value(definition: Definition, buckets: Buckets, covered: Sequence[int], now_ms: int) -> tuple[Output | None, bool]:
    """(value, whether it is that or more)."""
    if definition.feature.by is None:
        states = [(start, state) for start in covered for state in buckets.states[start].values()]
        return definition.aggregate.read(states, now_ms)
    by_key: dict[str, list[tuple[int, State]]] = {}
    for start in covered:
        for key, state in buckets.states[start].items():
            if key not in definition.order:  # a category that the policy no longer has
                continue
            by_key.setdefault(key, []).append((start, state))
    read = {key: definition.aggregate.read(states, now_ms) for key, states in by_key.items()}
    values = {key: value for key, (value, _) in read.items() if value is not None}
    return _ranked(definition, values), any(at_least for _, at_least in read.values())


def _ranked(definition: Definition, values: Mapping[str, Plain]) -> dict[str, Plain]:
    """Largest first, ties as declared; texts as declared."""
    places = {key: place for place, key in enumerate(definition.order)}

    def rank(key: str) -> tuple[float, int]:
        value = values[key]
        return (0.0 if isinstance(value, str) else -value, places.get(key, len(places)))

    return {key: values[key] for key in sorted(values, key=rank)[: definition.feature.top]}


def _fallback(
    definition: Definition, buckets: Buckets, starts: Sequence[int], coverage: float, now_ms: int
) -> FeatureValue:
    name, version, feature = definition.name, definition.version, definition.feature
    if feature.fallback == "default":
        return FeatureValue(name, version, feature.default, now_ms, coverage, Fallback.DEFAULT)
    if feature.fallback == "last_known" and starts:
        moment = min(now_ms, definition.grid.last_moment(starts[-1]))
        known = _read(definition, buckets, starts, coverage, moment, Fallback.LAST_KNOWN)
        if known is not None:
            return known
    return FeatureValue(name, version, None, now_ms, coverage, Fallback.UNAVAILABLE)


def _coverage(definition: Definition, alive: Spans, now_ms: int) -> float:
    start, end = definition.grid.window_ms(now_ms)
    if end <= start:  # the first moment of a tumbling window
        return float(any(first <= now_ms < last for first, last in alive))
    lived = sum(max(0, min(last, end) - max(first, start)) for first, last in alive)
    return min(1.0, lived / (end - start))
