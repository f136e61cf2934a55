"""Is this hour like the same hour of former weeks? Counts and means of one signal, judged at the source.

A device's life has a week's rhythm, so an hour is compared with the same hour of up to eight former
weeks, and with the same hour of former days until there are enough of those. Silence at night is usual there, and a
drop only where something was usual. Hours in which the agent did not run nearly all of the time say nothing.

The statistic is Student's: (x - mean) / (s·√(1 + 1/n)), of √(count + 3/8) for counts (Anscombe, Biometrika 35, 1948:
its deviation is about 1/2 for a Poisson count, which is also the least that is assumed). Flagged beyond the quantile
that a regular hour passes once in 20,000 on either side: about one false alarm in fourteen months for each measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import hypot, sqrt
from typing import TYPE_CHECKING

from discreet_agent.hours import WEEK_HOURS, Hour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WEEKS = 8  # of history
ENOUGH_WEEKS = 5  # same hours of the week; before that, same hours of the day
ENOUGH_DAYS = 7
MOST_DAYS = 14
ENOUGH_VALUES = 5  # values without which an hour's mean says nothing
LEAST_COVERAGE = 0.95  # share of the hour in which the agent was receiving
LEAST_RUN = 50  # equal values in a row that may mean a stuck source
RUN_FACTOR = 5  # and how many times longer than the longest run so far

# Quantiles of Student's t at 1 - 1/20,000, for 3, 4, … degrees of freedom.
_QUANTILES = (28.0, 15.54, 11.18, 9.08, 7.88, 7.12, 6.59, 6.21, 5.92, 5.69, 5.51, 5.36, 5.24)
_COUNT_DEVIATION = 0.5


class Kind(StrEnum):
    """Closed list of what may be wrong with a source."""

    SPIKE = "spike"
    DROP = "drop"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Finding:
    """One hour, or run, unlike the usual; `usual` and `seen` are for the device's owner, never for a log."""

    signal: str
    kind: Kind
    measure: str  # "rate", or the field
    hour: int
    seen: float
    usual: float
    hours: int  # how many former hours it was compared with

    @property
    def explanation(self) -> str:
        """One sentence for the owner."""
        if self.kind is Kind.STUCK:
            return (
                f"{self.measure} of {self.signal} has had one value {self.seen:g} times in a row; "
                f"the longest run before was {self.usual:g}"
            )
        what = "events" if self.measure == "rate" else f"on the average of {self.measure}"
        return (
            f"{self.signal} had {self.seen:g} {what} in this hour; about {self.usual:g} is usual, "
            f"by {self.hours} hours like it"
        )


def comparable(hours: Sequence[Hour], index: int) -> list[Hour]:
    """Former hours to compare hour `index` with; empty where there are too few for a judgement."""
    former = [hour for hour in hours if 0 < index - hour.index <= WEEKS * WEEK_HOURS]
    weekly = [hour for hour in former if (index - hour.index) % WEEK_HOURS == 0]
    if len(weekly) >= ENOUGH_WEEKS:
        return weekly[-WEEKS:]
    daily = [hour for hour in former if (index - hour.index) % 24 == 0]
    return daily[-MOST_DAYS:] if len(daily) >= ENOUGH_DAYS else []


def judge(signal: str, hour: Hour, former: Sequence[Hour], floors: Mapping[str, float]) -> list[Finding]:
    """What is unusual about an hour. `floors`: the least deviation that is assumed of each field's hourly mean."""
    if not former:
        return []
    found = []
    roots = [_root(other.count) for other in former]
    side = _side(_root(hour.count), roots, _COUNT_DEVIATION)
    if side is not None:
        usual = sorted(other.count for other in former)[len(former) // 2]
        found.append(Finding(signal, side, "rate", hour.index, hour.count, usual, len(former)))
    for field, mean in hour.means.items():
        means = [other.means[field] for other in former if field in other.means]
        side = _side(mean, means, floors[field]) if len(means) >= ENOUGH_WEEKS else None
        if side is not None:
            found.append(Finding(signal, side, field, hour.index, mean, sum(means) / len(means), len(means)))
    return found


def tempered(hour: Hour, former: Sequence[Hour], found: Sequence[Finding]) -> Hour:
    """The hour as history keeps it: what was flagged counts as twice or half the usual.

    So one incident does not make the next one look usual, and a lasting change is learnt within some weeks.
    """
    count, means = hour.count, dict(hour.means)
    for finding in found:
        if finding.measure == "rate":
            most, least = 2 * finding.usual + 1, finding.usual / 2
            count = round(min(max(count, least), most))
        else:
            values = [other.means[finding.measure] for other in former if finding.measure in other.means]
            low, high = min(values), max(values)
            means[finding.measure] = min(max(hour.means[finding.measure], 2 * low - high), 2 * high - low)
    return Hour(hour.index, count, means)


def _side(value: float, former: Sequence[float], least_deviation: float) -> Kind | None:
    mean = sum(former) / len(former)
    freedom = len(former) - 1
    spread = hypot(*[other - mean for other in former])  # whose squares may be larger than floats are
    deviation = max(spread / sqrt(freedom), least_deviation)
    distance = (value - mean) / (deviation * sqrt(1 + 1 / len(former)))
    if abs(distance) <= _QUANTILES[min(freedom - 3, len(_QUANTILES) - 1)]:
        return None
    return Kind.SPIKE if distance > 0 else Kind.DROP


def _root(count: int) -> float:
    return sqrt(count + 0.375)


class Runs:
    """Runs of equal values of one signal's number fields; the values are in memory only."""

    def __init__(self, longest: Mapping[str, int]) -> None:
        self.longest = dict(longest)  # of runs that have ended; a field without one cannot be stuck
        self._current: dict[str, tuple[float, int]] = {}

    def take(self, signal: str, hour: int, field: str, values: Sequence[float]) -> Finding | None:
        """More values of a field in the order of arrival; a finding when a run becomes implausibly long."""
        value, length = self._current.get(field, (values[0], 0))
        before = length
        if values.count(value) == len(values):  # one step for the usual case of a source that is stuck
            length += len(values)
        else:
            before = 0
            for other in values:
                if other == value:
                    length += 1
                else:
                    self.longest[field] = max(self.longest.get(field, 0), length)
                    value, length = other, 1
        self._current[field] = (value, length)
        longest = self.longest.get(field)
        if longest is None:
            return None
        limit = max(LEAST_RUN, RUN_FACTOR * longest)
        if before < limit <= length:
            return Finding(signal, Kind.STUCK, field, hour, length, longest, 0)
        return None
