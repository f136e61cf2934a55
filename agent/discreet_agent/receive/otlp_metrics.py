"""Data points → event lines of the signals that the policy declares for their metric.

A gauge, or a sum that may fall, is taken as it stands. A sum that only rises is taken as what it rose by since the
point before; a rise of zero makes no event. Which point was last is kept in memory: after a restart, and for a
counter that began before we were asked to look, counting begins with the second point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.event import EventLine, EventRefusal, Refused
from discreet_agent.receive.otlp_records import UNFIT, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.event import Received
    from discreet_agent.receive.otlp_records import DataPoint
    from discreet_contract.policy.model import Otlp, Signal

_SKEW_NS = 300_000_000_000  # so far ahead of our clock a point may be
MAX_SERIES = 10_000  # whose last point is remembered; the one unheard of for longest is given up

_UNDECLARED = Refused(EventRefusal.UNKNOWN_SIGNAL, "the policy declares no signal for this metric and its attributes")
_DISTRIBUTION = Refused(EventRefusal.WRONG_TYPE, "histograms and summaries are not taken; gauges and sums are")
_NO_TEMPORALITY = Refused(EventRefusal.MALFORMED, "a sum says whether it is cumulative or a delta")
_OTHER_UNIT = Refused(EventRefusal.WRONG_TYPE, "the metric has another unit than the policy declares")
_TIMELESS = Refused(EventRefusal.BAD_TIME, "a data point has `time_unix_nano`")
_NOT_FINITE = Refused(EventRefusal.OUT_OF_BOUNDS, "a data point's value is a finite number")
_UNFIT = Refused(
    EventRefusal.WRONG_TYPE, "an attribute is a list, a map or bytes; fields are numbers, text or true/false"
)


@dataclass(frozen=True, slots=True)
class _Source:
    signal: str
    version: str
    otlp: Otlp


class Sources:
    """Which signals are declared for which metrics."""

    def __init__(self, signals: Mapping[str, Signal]) -> None:
        self._by_metric: dict[str, list[_Source]] = {}
        declared = ((name, signal, signal.otlp) for name, signal in signals.items())
        found = [_Source(name, signal.version, otlp) for name, signal, otlp in declared if otlp is not None]
        for source in sorted(found, key=lambda source: (-len(source.otlp.only), source.signal)):
            self._by_metric.setdefault(source.otlp.metric, []).append(source)

    def find(self, point: DataPoint) -> _Source | None:
        """The signal for a point: of those whose `only` holds, the one that asks most."""
        for source in self._by_metric.get(point.metric, ()):
            if all(point.attributes.get(name) == value for name, value in source.otlp.only.items()):
                return source
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sources) and self._by_metric == other._by_metric

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, repr=False)
class _Last:
    time_ns: int
    value: int | float
    counts_since_ns: int = 0  # of a cumulative sum: its start


class Series:
    """The last point of each series. What a request changes is kept only once its events are on disk."""

    def __init__(self, since_ns: int) -> None:
        self._since_ns = since_ns
        self._last: dict[bytes, _Last] = {}

    def begin_anew(self, since_ns: int) -> None:
        """Forget everything; nothing that was counted before this moment is ever recorded."""
        self._since_ns = since_ns
        self._last.clear()

    def keep(self, changes: Mapping[bytes, _Last]) -> None:
        """Remember what `rise` found."""
        for key, last in changes.items():
            self._last.pop(key, None)
            self._last[key] = last  # at the end: dictionaries keep their order
        while len(self._last) > MAX_SERIES:
            gone = self._last.pop(next(iter(self._last)))
            # Or its next point would look like the first of a new counter, and all of it be counted once more.
            self._since_ns = max(self._since_ns, gone.counts_since_ns + 1)

    def rise(self, point: DataPoint, value: float, changes: dict[bytes, _Last], now_ns: int) -> int | float | None:
        """What a point adds to those before it; None: nothing, or it is here already. Notes it in `changes`."""
        key = point.series + point.start_ns.to_bytes(8, "big") if point.kind is Kind.CUMULATIVE else point.series
        last = changes.get(key) or self._last.get(key)
        if last is not None and point.time_ns <= last.time_ns <= now_ns + _SKEW_NS:
            return None  # sent again; not where the last one is of a time to come, for then the clock was set back
        changes[key] = _Last(point.time_ns, value, point.start_ns if point.kind is Kind.CUMULATIVE else 0)
        if point.kind in (Kind.GAUGE, Kind.TOTAL):
            return value
        if point.kind is Kind.CUMULATIVE:
            if last is None and not 0 < self._since_ns <= point.start_ns:
                return None  # began before we looked: how much of it is ours nobody can tell
            # Below the last value it has begun again without saying so: all of it is new.
            value = value if last is None or value < last.value else value - last.value
        return value or None


def event_of(
    point: DataPoint, sources: Sources, series: Series, changes: dict[bytes, _Last], now_ns: int
) -> Received | None:
    """The event that a data point says, why it is none, or None where nothing happened."""
    source = sources.find(point)
    refusal = _refusal(point, source)
    if source is None or refusal is not None:
        return refusal
    if point.value is None:
        return None  # the point says itself that there is no value
    value = series.rise(point, point.value, changes, now_ns)
    if value is None:
        return None
    attributes = point.attributes
    fields = {name: attributes[said] for name, said in source.otlp.attributes.items() if said in attributes}
    kept = {name: field for name, field in fields.items() if field is not UNFIT}
    if len(kept) < len(fields):
        return _UNFIT
    return EventLine(
        signal=source.signal,
        version=source.version,
        time=point.time_ns // 1_000_000,
        fields=kept | {source.otlp.value: value},
    )


def _refusal(point: DataPoint, source: _Source | None) -> Refused | None:
    if source is None:
        return _UNDECLARED
    if point.kind is Kind.DISTRIBUTION:
        return _DISTRIBUTION
    if point.kind is Kind.UNKNOWN_SUM:
        return _NO_TEMPORALITY
    if source.otlp.unit and point.unit != source.otlp.unit:
        return _OTHER_UNIT
    if point.time_ns <= 0:
        return _TIMELESS
    if point.value is not None and not math.isfinite(point.value):
        return _NOT_FINITE
    return None
