"""Time buckets of a feature: how wide they are, and which of them a window covers.

A bounded number of buckets stands for any number of events. A sliding window moves in steps of one bucket: it
covers whole buckets only, so that it is at most one step shorter than declared and never longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from discreet_contract.policy.personalization import Feature

DAY = 86_400
LONGEST = 366 * DAY
HALF_LIVES = 40  # what is older weighs less than 1e-12 of a new event
_MOST_BUCKETS = 128
_MOST_RUNS = 512  # sessions in one bucket
_MOST_FOR_TTL = 1024  # buckets
_STEPS = (1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 21_600, 43_200, DAY, 2 * DAY, 4 * DAY)
_BY_DAY = {"active_days", "streak"}


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a feature's buckets lie. All in seconds; buckets are aligned to the UTC epoch."""

    width: int  # of a bucket
    span: int  # how far back a value looks
    is_tumbling: bool
    kept: int  # after its end, a bucket is kept so long
    ttl: int | None  # without a new event, the value lives so long after its newest bucket

    def bucket(self, time_ms: int) -> int:
        """Start of the bucket of a moment."""
        second = time_ms // 1000
        return second - second % self.width

    def covered(self, now_ms: int) -> tuple[int, int]:
        """(first start, last start) of the buckets that a value of this moment is read from."""
        now = now_ms // 1000
        if self.is_tumbling:
            first = now - now % self.span
            return first + (-first) % self.width, now
        first = now - self.span + 1
        return first + (-first) % self.width, now

    def window_ms(self, now_ms: int) -> tuple[int, int]:
        """The time that a value of this moment speaks of."""
        if self.is_tumbling:
            return (now_ms // 1000 // self.span) * self.span * 1000, now_ms
        return now_ms - self.span * 1000, now_ms

    def last_moment(self, start: int) -> int:
        """Until when (ms) a bucket's content is in the window."""
        if self.is_tumbling:
            return (start - start % self.span + self.span) * 1000 - 1
        return (start + self.span) * 1000 - 1


def make_grid(feature: Feature, most_kept: int | None) -> Grid:
    """The grid of a checked feature. `most_kept`: the policy's `retention.enriched` in seconds."""
    window = None if feature.window is None else seconds(feature.window)
    ttl = None if feature.ttl is None else seconds(feature.ttl)
    half_life = None if feature.half_life is None else seconds(feature.half_life)
    is_tumbling = feature.alignment == "tumbling" and window is not None
    if half_life is not None:
        span = min(HALF_LIVES * half_life, window or LONGEST, LONGEST)
    else:
        span = window or min(ttl or LONGEST, LONGEST)
    gap = None if feature.gap is None else seconds(feature.gap)
    if is_tumbling:
        width = _tumbling_width(feature.aggregate, span, gap)
    else:
        width = _width(feature.aggregate, span, half_life, ttl)
    kept = span if feature.fallback != "last_known" or ttl is None else span + ttl
    return Grid(width, span, is_tumbling, min(kept, most_kept or kept), ttl)


def _width(aggregate: str, span: int, half_life: int | None, ttl: int | None) -> int:
    if aggregate in _BY_DAY:
        return DAY
    width = next((step for step in _STEPS if span <= step * _MOST_BUCKETS), _STEPS[-1])
    if ttl is not None:  # which is counted from the end of the newest bucket
        width = max(1, min(width, max(ttl // 4, span // _MOST_FOR_TTL)))
    if half_life is not None:  # within a bucket a weight is at most doubled
        return max(1, min(width, half_life))
    return width


def _tumbling_width(aggregate: str, span: int, gap: int | None) -> int:
    if aggregate in _BY_DAY:
        return DAY
    if gap is None:
        return span
    parts = max(1, span // (_MOST_RUNS * gap))  # one long list of sessions would be rewritten with every event
    return span // next(count for count in range(parts, span + 1) if span % count == 0)
