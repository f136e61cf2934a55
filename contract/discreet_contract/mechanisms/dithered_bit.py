"""Dithered bit for a bounded integer (Ding, Kulkarni & Yekhanin 2017, with a public threshold): id dbit-1.

The value, less `low`, is u·B with B = high − low. The device draws a public threshold T uniform on 1 … B and
answers "is it T or more?" by randomised response with p = e^ε/(1+e^ε): for whatever T the question is a
1-stable map to a bit, so the loss is that of OpenDP's response. A share u of thresholds is passed, so
low + B·mean((answer − (1−p))/(2p−1)) has no bias, and n·variance/B² = e^ε/(e^ε−1)² + E[u(1−u)]: 0.92 … 1.17 at ε = 1.

The same reports hold the distribution: the share of yes at each threshold is the survival curve
(`distribution`). Payload: (T−1)·2 + answer, big-endian, fewest bytes, at most four.
Sums: [n, yes, reports by group of thresholds …, yes by group …], in min(B, 256) groups as equal as can be.
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
from discreet_contract.mechanisms.mechanism import Interval, fewest_bytes, round_down
from discreet_contract.mechanisms.randomized_response import draw_bit
from discreet_contract.mechanisms.support import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.mechanism import Noised, Sums

MAX_GROUPS = 256
MAX_STEPS = 2**31  # thresholds whose payloads fit four bytes


@dataclass(frozen=True)
class DitheredBit:
    """An integer in [low, high], 1 ≤ high − low ≤ 2³¹; `epsilon` > 0."""

    id: ClassVar[str] = "dbit-1"
    labels: ClassVar[tuple[str, ...]] = ("mean",)

    epsilon: float
    low: int
    high: int

    @property
    def steps(self) -> int:
        """B, the number of thresholds."""
        return self.high - self.low

    @property
    def groups(self) -> int:
        """G, the number of groups of neighbouring thresholds that sums tell apart."""
        return min(self.steps, MAX_GROUPS)

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return fewest_bytes(2 * self.steps)

    @cached_property
    def truth(self) -> float:
        """p, the probability that a device answers truly."""
        return round_down(1 / (1 + math.exp(-self.epsilon)))

    def first_threshold(self, group: int) -> int:
        """Smallest T of a group; that of group G is B + 1. T lies in group (T−1)·G div B."""
        return -(-group * self.steps // self.groups) + 1

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`. The threshold is public and says nothing; OpenDP draws the answer."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise ValueError("dbit-1 randomises an integer within its bounds: clamp first")
        threshold = 1 + secrets.randbelow(self.steps)
        answer = draw_bit(self.truth)(value - self.low >= threshold)
        return (2 * (threshold - 1) + bool(answer)).to_bytes(self.payload_bytes, "big")

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(draw_bit(self.truth).map(1))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        noised = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or noised not in self.outputs():
            raise IllegalPayloadError("a dbit-1 payload is a threshold within the metric's range and a bit")
        return noised

    def says(self, noised: int, step: float) -> str:
        """See `Mechanism.says`."""
        threshold, is_reached = divmod(noised, 2)
        return f"{'at least' if is_reached else 'below'} {(self.low + threshold + 1) * step:g}"

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(self.low, self.high + 1)

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(2 * self.steps)

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`: a uniform threshold, times randomised response."""
        passed = value - self.low > noised // 2
        p = Fraction(self.truth)
        return (p if passed == noised % 2 else 1 - p) / self.steps

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        values = np.asarray(noised, dtype=np.int64)
        table = np.bincount(2 * ((values >> 1) * self.groups // self.steps) + (values & 1), minlength=2 * self.groups)
        yes = table[1::2]
        return np.concatenate(([len(values), yes.sum()], table[::2] + yes, yes)).astype(np.int64)

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`."""
        return (self._value(sums[1] / sums[0]),)

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`: exact where all devices hold one value, else an upper bound.

        It takes E[u(1−u)] for its largest, mean(u)·(1 − mean(u)), since the sums do not pin down the spread of u.
        """
        devices, yes = sums[:2]
        p, share = self.truth, min(max(yes / devices, 1 - self.truth), self.truth)
        largest = max(share * (1 - share), p * (1 - p))
        return (largest / devices * (self.steps / (2 * p - 1)) ** 2,)

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval of the share of yes, stretched to the range; holds whatever the spread of the values."""
        ends = wilson_interval(sums[1], sums[0], level)
        return (Interval(self._value(ends.low), self._value(ends.high)),)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`; the worst case is every device in the middle of the range."""
        p, middle = self.truth, (self.steps // 2) / self.steps
        noise = p * (1 - p) / (2 * p - 1) ** 2
        return self.steps * math.sqrt((noise + middle * (1 - middle)) / devices)

    @property
    def gap(self) -> float:
        """2p − 1: how much of the truth is left in an answer."""
        return 2 * self.truth - 1

    @property
    def noise(self) -> float:
        """Variance of a point of the curve times its reports, at most."""
        return 0.25 / self.gap**2

    def curve(self, sums: Sequence[int]) -> list[CurveCount]:
        """Reports and yes, group by group of thresholds."""
        firsts = [self.first_threshold(group) for group in range(self.groups + 1)]
        counts = zip(firsts, firsts[1:], sums[2:], sums[2 + self.groups :], strict=False)
        return [CurveCount(first, after - 1, int(n), int(yes), 1 - self.truth) for first, after, n, yes in counts]

    def _value(self, share: float) -> float:
        """The mean at which this share of answers is yes."""
        return self.low + self.steps * (share - (1 - self.truth)) / (2 * self.truth - 1)
