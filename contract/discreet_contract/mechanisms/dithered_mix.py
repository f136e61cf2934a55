"""Dithered bit or dithered levels, by a public coin: id dmix-1, for ε around 1.1, where neither is good alone.

The bit has most noise for values in the middle of the range, levels for those near its ends, so a mixture's
worst case is below both: at most 1.03 times the hybrid mechanism's (Wang et al. 2019, which mixes for the same
reason) where the better of the two alone is up to 1.125 times. With a public coin of odds m/64 for levels the
device draws which of `dbit-1` and `dlev-1` to use: the coin does not depend on the value, so the loss is that
of the one drawn, ε at the most. m is the one of least variance in the worst case.

The mean over reports of what each says alone has no bias. Its variance is that of the mixture.
Payload: the bit's noised integer, or the levels' after all of the bit's. Sums: [n, the bit's sums …, the levels' …].
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.dithered_bit import DitheredBit
from discreet_contract.mechanisms.dithered_levels import DitheredLevels
from discreet_contract.mechanisms.mechanism import Interval, fewest_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.mechanism import Noised, Sums

COIN = 64
MAX_STEPS = 2**29  # range whose payloads fit four bytes
_PLACES = 64  # of the range at which worst cases are compared


@dataclass(frozen=True)
class DitheredMix:
    """An integer in [low, high], 2 ≤ high − low ≤ 2²⁹; `epsilon` > 0."""

    id: ClassVar[str] = "dmix-1"
    labels: ClassVar[tuple[str, ...]] = ("mean",)

    epsilon: float
    low: int
    high: int

    @cached_property
    def bit(self) -> DitheredBit:
        """What answers where the coin does not say levels."""
        return DitheredBit(self.epsilon, self.low, self.high)

    @cached_property
    def levels(self) -> DitheredLevels:
        """What answers where it does."""
        return DitheredLevels(self.epsilon, self.low, self.high)

    @cached_property
    def odds_of_levels(self) -> int:
        """m: levels are drawn m times in 64, 1 … 63."""
        return min(range(1, COIN), key=self._worst)

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return fewest_bytes(len(self.outputs()))

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`. The coin is public and says nothing; OpenDP draws the answer."""
        if type(value) is not int or not self.low <= value <= self.high:
            raise ValueError("dmix-1 randomises an integer within its bounds: clamp first")
        first = len(self.bit.outputs())
        if secrets.randbelow(COIN) < self.odds_of_levels:
            noised = first + self.levels.decode(self.levels.randomize(value))
        else:
            noised = self.bit.decode(self.bit.randomize(value))
        return noised.to_bytes(self.payload_bytes, "big")

    def charge(self) -> int:
        """See `Mechanism.charge`: the dearer of the two."""
        return max(self.bit.charge(), self.levels.charge())

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        noised = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or noised not in self.outputs():
            raise IllegalPayloadError("a dmix-1 payload is one of dbit-1 or one of dlev-1")
        return noised

    def says(self, noised: int, step: float) -> str:
        """See `Mechanism.says`."""
        first = len(self.bit.outputs())
        return self.bit.says(noised, step) if noised < first else self.levels.says(noised - first, step)

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(self.low, self.high + 1)

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(len(self.bit.outputs()) + len(self.levels.outputs()))

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`: the coin, times the odds of the one drawn."""
        first, share = len(self.bit.outputs()), Fraction(self.odds_of_levels, COIN)
        if noised < first:
            return (1 - share) * self.bit.probability(value, noised)
        return share * self.levels.probability(value, noised - first)

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        values, first = np.asarray(noised, dtype=np.int64), len(self.bit.outputs())
        bits, levels = values[values < first], values[values >= first] - first
        parts = ([len(values)], self.bit.accumulate(bits), self.levels.accumulate(levels))
        return np.concatenate(parts).astype(np.int64)

    def parts(self, sums: Sequence[int]) -> list[tuple[DitheredBit | DitheredLevels, Sequence[int]]]:
        """Each of the two with its own sums, the one with more reports first; one that nobody drew is left out."""
        after = 1 + 2 + 2 * self.bit.groups
        both: list[tuple[DitheredBit | DitheredLevels, Sequence[int]]]
        both = [(self.bit, sums[1:after]), (self.levels, sums[after:])]
        return sorted((part for part in both if part[1][0] > 0), key=lambda part: -part[1][0])

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: the mean over all reports of what each says."""
        return (sum(own[0] / sums[0] * part.estimate(own)[0] for part, own in self.parts(sums)),)

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`: both parts are independent; each gives an upper bound."""
        return (sum((own[0] / sums[0]) ** 2 * part.variance(own)[0] for part, own in self.parts(sums)),)

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """From the parts' own score intervals: their distances add in squares (MOVER, Zou & Donner 2008)."""
        [mean] = self.estimate(sums)
        below = above = 0.0
        for part, own in self.parts(sums):
            [at], [ends], weight = part.estimate(own), part.interval(own, level), own[0] / sums[0]
            below += (weight * (at - ends.low)) ** 2
            above += (weight * (ends.high - at)) ** 2
        return (Interval(mean - math.sqrt(below), mean + math.sqrt(above)),)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`; the worst case over values, on a grid of the range."""
        return math.sqrt(self._worst(self.odds_of_levels) / devices)

    def _worst(self, odds_of_levels: int) -> float:
        share = odds_of_levels / COIN
        return max(share * of_levels + (1 - share) * of_bit for of_bit, of_levels in self._curves)

    @cached_property
    def _curves(self) -> list[tuple[float, float]]:
        """Variance of one report of the bit and of levels, at values over the whole range."""
        steps, p = self.high - self.low, self.bit.truth
        noise = p * (1 - p) / (2 * p - 1) ** 2
        values = sorted({round(place * steps / _PLACES) for place in range(_PLACES + 1)})
        shares = [value / steps for value in values]
        return [
            (steps**2 * (noise + u * (1 - u)), self.levels.variance_at(value))
            for value, u in zip(values, shares, strict=True)
        ]
