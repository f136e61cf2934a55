"""Dithered levels: the dithered bit with J > 1 thresholds at once, for ε above 1: id dlev-1.

The value, less `low`, is v ≤ B. With steps of s = ⌈B/J⌉ the device draws a public T uniform on 1 … s and counts how
many of the thresholds T, T+s, …, T+(J−1)s the value reaches: a level of 0 … J. It reports the level by
(J+1)-ary randomised response with p = e^ε/(e^ε+J), q = (1−p)/J: for whatever T, level-of is a 1-stable map, so the loss
is that of OpenDP's response. A level is v/s on average, so low + s·(mean(report) − q·J(J+1)/2)/(p−q) has no bias.

J is the one of least variance in the worst case. n·variance/B² at worst: 0.25 at ε = 2 and 0.044 at ε = 4, where the
dithered bit has 0.43 and 0.27, discrete Laplace 0.5 and 0.125, the hybrid mechanism (Wang et al. 2019)
0.26 and 0.055. The survival curve can be read from the same sums (`distribution`).
Payload: (T−1)·(J+1) + report, big-endian, fewest bytes. Sums: [n, reports by group of T and, within, by level …].
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from discreet_contract.accounting import to_nano
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.distribution import CurveCount
from discreet_contract.mechanisms.k_ary import draw_index
from discreet_contract.mechanisms.mechanism import Interval, fewest_bytes, round_down, z_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from discreet_contract.mechanisms.mechanism import Noised, Sums

MAX_POINTS = 256  # of the survival curve
MAX_LEVELS = 64  # J
MAX_STEPS = 2**30  # range whose payloads fit four bytes
_HALVINGS = 40  # leave 1e-12 of the reach


@dataclass(frozen=True)
class DitheredLevels:
    """An integer in [low, high], 2 ≤ high − low ≤ 2³⁰; `epsilon` > 0."""

    id: ClassVar[str] = "dlev-1"
    labels: ClassVar[tuple[str, ...]] = ("mean",)

    epsilon: float
    low: int
    high: int

    @cached_property
    def levels(self) -> int:
        """J, the number of thresholds asked at once: 2 or more."""
        candidates = range(2, min(MAX_LEVELS, self.high - self.low) + 1)
        return min(candidates, key=self._worst)

    @property
    def step(self) -> int:
        """s, the distance of two thresholds."""
        return self._step(self.levels)

    @property
    def groups(self) -> int:
        """G, the number of groups of neighbouring T that sums tell apart."""
        return min(self.step, max(1, MAX_POINTS // self.levels))

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return fewest_bytes(len(self.outputs()))

    @property
    def truth(self) -> float:
        """p, the probability that a device reports its own level."""
        return self._odds.own

    @property
    def gap(self) -> float:
        """Of p over q: how much of the truth is left in a report."""
        return self._odds.gap

    @property
    def noise(self) -> float:
        """Variance of a point of the curve times its reports, at most."""
        return 0.25 / self.gap**2

    def level_of(self, value: int, threshold: int) -> int:
        """Thresholds T, T + s, … that the value reaches."""
        return max(0, (value - self.low - threshold) // self.step + 1)

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`. The thresholds are public and say nothing; OpenDP draws the report."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise ValueError("dlev-1 randomises an integer within its bounds: clamp first")
        threshold = 1 + secrets.randbelow(self.step)
        level = draw_index(self.levels + 1, self.truth)(self.level_of(value, threshold))
        return int((threshold - 1) * (self.levels + 1) + level).to_bytes(self.payload_bytes, "big")

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(draw_index(self.levels + 1, self.truth).map(1))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        noised = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or noised not in self.outputs():
            raise IllegalPayloadError("a dlev-1 payload is a threshold within the metric's first step and a level")
        return noised

    def says(self, noised: int, step: float) -> str:
        """See `Mechanism.says`."""
        threshold, level = divmod(noised, self.levels + 1)
        first = (self.low + threshold + 1) * step
        return f"{level} of {self.levels} steps of {self.step * step:g}, the first at {first:g}"

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(self.low, self.high + 1)

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(self.step * (self.levels + 1))

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`: a uniform T, times (J+1)-ary response."""
        threshold, level = divmod(noised, self.levels + 1)
        p = Fraction(self.truth)
        return (p if level == self.level_of(value, threshold + 1) else (1 - p) / self.levels) / self.step

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        threshold, level = np.divmod(np.asarray(noised, dtype=np.int64), self.levels + 1)
        cells = (threshold * self.groups // self.step) * (self.levels + 1) + level
        table = np.bincount(cells, minlength=self.groups * (self.levels + 1))
        return np.concatenate(([len(noised)], table)).astype(np.int64)

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`."""
        mean, _ = self._moments(sums)
        return (self._value(self._odds.position(mean)),)

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`: exact where all devices hold one value, else an upper bound.

        Larger of the reports' own variance, which holds the devices' differences too, and that of one common value.
        """
        mean, variance = self._moments(sums)
        largest = max(variance, self._odds.variance(self._odds.position(mean)))
        return (largest / sums[0] * (self.step / self.gap) ** 2,)

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval with continuity correction: every mean whose noise, as for `variance`, explains the sum."""
        mean, variance = self._moments(sums)
        devices, z, odds = sums[0], z_score(level), self._odds
        observed = variance * devices / max(devices - 1, 1)

        def reach(position: float) -> float:
            return 0.5 / devices + z * math.sqrt(max(observed, odds.variance(position)) / devices)

        farthest = 0.5 / devices + z * math.sqrt(max(observed, odds.largest(self.step)) / devices)
        ends = []
        for direction in (-1, 1):
            inside, outside = mean, mean + direction * farthest
            for _ in range(_HALVINGS):
                middle = (inside + outside) / 2
                explained = abs(middle - mean) <= reach(odds.position(middle))
                inside, outside = (middle, outside) if explained else (inside, middle)
            ends.append(self._value(odds.position(outside)))
        return (Interval(ends[0], ends[1]),)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`; the worst case is every device at the value of most noise."""
        return math.sqrt(self._worst(self.levels) / devices)

    def variance_at(self, value: int) -> float:
        """Variance of what one report says of a device `value` steps above `low`."""
        return self._odds.variance(value / self.step) * (self.step / self.gap) ** 2

    def curve(self, sums: Sequence[int]) -> list[CurveCount]:
        """Reports and those beyond level j, for each j and group of T: thresholds from the smallest to the largest."""
        table, found = self._table(sums).tolist(), []
        for beyond in range(self.levels):
            for group, counts in enumerate(table):
                firsts = [-(-g * self.step // self.groups) + 1 + beyond * self.step for g in (group, group + 1)]
                passed, base = sum(counts[beyond + 1 :]), self._odds.other * (self.levels - beyond)
                found.append(CurveCount(firsts[0], firsts[1] - 1, sum(counts), passed, base))
        return found

    @cached_property
    def _odds(self) -> _Odds:
        return _Odds.of(self.epsilon, self.levels)

    def _worst(self, levels: int) -> float:
        """Largest variance of one device's value as estimated with this many levels."""
        odds, step = _Odds.of(self.epsilon, levels), self._step(levels)
        return odds.largest(step) * (step / odds.gap) ** 2

    def _step(self, levels: int) -> int:
        return -(-(self.high - self.low) // levels)

    def _value(self, position: float) -> float:
        return self.low + self.step * position

    def _table(self, sums: Sequence[int]) -> npt.NDArray[np.int64]:
        import numpy as np

        return np.asarray(sums[1:]).reshape(self.groups, self.levels + 1)

    def _moments(self, sums: Sequence[int]) -> tuple[float, float]:
        """Mean and variance of the reported levels."""
        shares = self._table(sums).sum(axis=0) / sums[0]
        mean = float(sum(level * share for level, share in enumerate(shares)))
        return mean, float(sum((level - mean) ** 2 * share for level, share in enumerate(shares)))


@dataclass(frozen=True, slots=True)
class _Odds:
    """(J+1)-ary response on levels: mean and variance of a report for a value at `position`, in steps, 0 … J."""

    levels: int
    own: float

    @classmethod
    def of(cls, epsilon: float, levels: int) -> _Odds:
        e = math.exp(epsilon)
        return cls(levels, round_down(e / (e + levels)))

    @property
    def other(self) -> float:
        return (1 - self.own) / self.levels

    @property
    def gap(self) -> float:
        return self.own - self.other

    @property
    def base(self) -> float:
        """Mean report at position 0: what lies add."""
        return self.other * self.levels * (self.levels + 1) / 2

    def position(self, mean: float) -> float:
        """Position of which this is the mean report."""
        return (mean - self.base) / self.gap

    def variance(self, position: float) -> float:
        """Of one report; a value between two levels is at either. Positions outside count as the nearest end."""
        inside = min(max(position, 0.0), float(self.levels))
        below = min(int(inside), self.levels - 1)
        square = below**2 + (inside - below) * (2 * below + 1)
        lies = self.other * self.levels * (self.levels + 1) * (2 * self.levels + 1) / 6
        return lies + self.gap * square - (self.base + self.gap * inside) ** 2

    def largest(self, step: int) -> float:
        """Largest variance of a report at positions that are multiples of 1/step; a parabola between two levels."""
        tops = (min(max((below + 0.5 - self.base) / self.gap, below), below + 1) for below in range(self.levels))
        return max(self.variance(turn(top * step) / step) for top in tops for turn in (math.floor, math.ceil))
