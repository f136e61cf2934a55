"""A feature's buckets → the value that an app is told, with what it rests on.

Gaps are explicit: a value says for which moment it stands, in which share of its window its source was alive, and
whether it comes from the events or from the fallback that the policy declares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.personal.values import Fallback, FeatureValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from discreet_agent.features.definition import Definition
    from discreet_agent.features.states import State
    from discreet_agent.personal.values import Output, Plain

    Buckets = Mapping[int, Mapping[str, State]]  # start → key → state
    Spans = Sequence[tuple[int, int]]  # ms, in which the source was alive; disjoint


def read_feature(
    definition: Definition, buckets: Buckets, partial: frozenset[int], alive: Spans, now_ms: int
) -> FeatureValue:
    """The value of a moment. `partial`: starts of buckets of which something could not be read any more."""
    coverage = _coverage(definition, alive, now_ms)
    newest = max((start for start in buckets if start <= now_ms // 1000), default=None)
    if not (newest is None and coverage == 0) and not _has_expired(definition, newest, now_ms):
        value, at_least, is_partial = _value(definition, buckets, partial, now_ms)
        if value is not None:
            version = definition.version
            return FeatureValue(
                definition.name, version, value, now_ms, coverage, at_least=at_least, is_partial=is_partial
            )
    return _fallback(definition, buckets, partial, newest, coverage, now_ms)


def _value(
    definition: Definition, buckets: Buckets, partial: frozenset[int], now_ms: int
) -> tuple[Output | None, bool, bool]:
    """(value, whether it is that or more, whether something is missing in it); None where no event says anything."""
    first, last = definition.grid.covered(now_ms)
    covered = sorted(start for start in buckets if first <= start <= last)
    is_partial = any(start in partial for start in covered)
    if definition.feature.by is None:
        states = [(start, state) for start in covered for state in buckets[start].values()]
        value, at_least = definition.aggregate.read(states, now_ms)
        return value, at_least, is_partial
    by_key: dict[str, list[tuple[int, State]]] = {}
    for start in covered:
        for key, state in buckets[start].items():
            by_key.setdefault(key, []).append((start, state))
    read = {key: definition.aggregate.read(states, now_ms) for key, states in by_key.items()}
    values = {key: value for key, (value, _) in read.items() if value is not None}
    return _ranked(definition, values), any(at_least for _, at_least in read.values()), is_partial


def _ranked(definition: Definition, values: Mapping[str, Plain]) -> dict[str, Plain]:
    """Largest first, ties as declared; texts as declared."""
    places = {key: place for place, key in enumerate(definition.order)}

    def rank(key: str) -> tuple[float, int]:
        value = values[key]
        return (0.0 if isinstance(value, str) else -value, places.get(key, len(places)))

    return {key: values[key] for key in sorted(values, key=rank)[: definition.feature.top]}


def _has_expired(definition: Definition, newest: int | None, now_ms: int) -> bool:
    grid = definition.grid
    return newest is not None and grid.ttl is not None and now_ms >= (newest + grid.width + grid.ttl) * 1000


def _fallback(
    definition: Definition, buckets: Buckets, partial: frozenset[int], newest: int | None, coverage: float, now_ms: int
) -> FeatureValue:
    name, version, feature = definition.name, definition.version, definition.feature
    if feature.fallback == "default":
        return FeatureValue(name, version, feature.default, now_ms, coverage, Fallback.DEFAULT)
    if feature.fallback == "last_known" and newest is not None and not _has_expired(definition, newest, now_ms):
        moment = min(now_ms, definition.grid.last_moment(newest))
        value, at_least, is_partial = _value(definition, buckets, partial, moment)
        if value is not None:
            known = Fallback.LAST_KNOWN
            return FeatureValue(name, version, value, moment, coverage, known, at_least=at_least, is_partial=is_partial)
    return FeatureValue(name, version, None, now_ms, coverage, Fallback.UNAVAILABLE)


def _coverage(definition: Definition, alive: Spans, now_ms: int) -> float:
    start, end = definition.grid.window_ms(now_ms)
    if end <= start:  # the first moment of a tumbling window
        return float(any(first <= now_ms < last for first, last in alive))
    lived = sum(max(0, min(last, end) - max(first, start)) for first, last in alive)
    return min(1.0, lived / (end - start))
