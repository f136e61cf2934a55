"""Randomised response on one bit (Warner 1965): id rr-1.

The truth with probability p = e^ε/(1+e^ε), its opposite otherwise. The noise of the
estimated share has variance p(1−p)/(n(2p−1)²) whatever the true answers are:
0.92/n at ε = 1. Payload: one byte, 0 or 1. Sums: [n, number of ones].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from discreet_contract.accounting import to_nano
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.mechanism import Interval, enable_opendp, round_down, z_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.mechanism import Noised, Sums


@dataclass(frozen=True)
class RandomizedResponse:
    """One bit; `epsilon` > 0."""

    id: ClassVar[str] = "rr-1"
    payload_bytes: ClassVar[int] = 1
    labels: ClassVar[tuple[str, ...]] = ("yes",)

    epsilon: float

    @cached_property
    def truth(self) -> float:
        """p, the probability that a device answers truly."""
        return round_down(1 / (1 + math.exp(-self.epsilon)))

    def odds(self) -> tuple[tuple[float, ...], ...]:
        """Row: true bit; column: reported bit; cell: probability. What the exact audit enumerates."""
        p = self.truth
        return ((p, 1 - p), (1 - p, p))

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`."""
        if value not in {0, 1}:
            raise ValueError("rr-1 randomises a bit")
        return b"\x01" if draw_bit(self.truth)(value == 1) else b"\x00"

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(draw_bit(self.truth).map(1))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        if payload not in {b"\x00", b"\x01"}:
            raise IllegalPayloadError("an rr-1 payload is one byte, 0 or 1")
        return payload[0]

    def says(self, noised: int, step: float) -> str:  # noqa: ARG002 - no number in it
        """See `Mechanism.says`."""
        return "yes" if noised else "no"

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(2)

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(2)

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`."""
        p = Fraction(self.truth)
        return p if noised == value else 1 - p

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        return np.array([len(noised), np.asarray(noised, dtype=np.int64).sum()], dtype=np.int64)

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: (ones/n − (1−p)) / (2p−1)."""
        devices, ones = sums
        p = self.truth
        return ((ones / devices - (1 - p)) / (2 * p - 1),)

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`."""
        return (self.expected_error(sums[0]) ** 2,)

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Normal with a continuity correction; the noise variance is known, so this is the score interval."""
        [share] = self.estimate(sums)
        half_count = 0.5 / (sums[0] * (2 * self.truth - 1))
        reach = z_score(level) * self.expected_error(sums[0]) + half_count
        return (Interval(share - reach, share + reach),)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`; exact for every true share."""
        p = self.truth
        return math.sqrt(p * (1 - p) / devices) / (2 * p - 1)


@lru_cache(maxsize=64)
def draw_bit(truth: float) -> Any:
    """OpenDP's randomised response on a bool."""
    enable_opendp()
    from opendp.measurements import make_randomized_response_bool

    return make_randomized_response_bool(prob=truth)
