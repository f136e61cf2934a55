"""Discrete Laplace on an integer clamped to [low, high] (Ghosh, Roughgarden & Sundararajan 2009): id dlap-1.

Adds integer noise with P(x) ∝ exp(−|x|/scale), scale = (high − low)/ε; its variance is
2a/(1−a)² with a = exp(−1/scale), close to 2·scale². Payload: the noised integer, four bytes,
signed, big-endian, kept within [low − reach, high + reach] where reach is passed with
probability below 1e-12; beyond that no payload is legal, so no forger shifts a sum by more
than an honest device could. Sums: [n, sum of noised values].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from discreet_contract.accounting import to_nano
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.mechanism import Interval, enable_opendp, z_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.mechanism import Noised, Sums

_LOG_TAIL = math.log(1e12)
_SCALE_GRID = 2**20
MAX_RANGE = 20_000_000  # so that a payload stays within four bytes at ε ≥ 0.5


@dataclass(frozen=True)
class DiscreteLaplace:
    """An integer in [low, high], low < high; `epsilon` > 0. Sensitivity is high − low, never taken from data."""

    id: ClassVar[str] = "dlap-1"
    payload_bytes: ClassVar[int] = 4
    labels: ClassVar[tuple[str, ...]] = ("mean",)

    epsilon: float
    low: int
    high: int

    @cached_property
    def scale(self) -> float:
        """Noise scale, rounded up to a multiple of 2⁻²⁰, exactly: OpenDP's map never passes ε, not by its last bit."""
        return math.ceil(Fraction(self.high - self.low) / Fraction(self.epsilon) * _SCALE_GRID) / _SCALE_GRID

    @cached_property
    def reach(self) -> int:
        """How far beyond the bounds a payload may lie."""
        return math.ceil(self.scale * _LOG_TAIL)

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`. OpenDP does not check its domain at invocation, hence the checks.

        The first is ours because `member` warns of a value of another type, and repeats it.
        """
        measurement = _measurement(self.low, self.high, self.scale)
        within = type(value) is int and self.low <= value <= self.high
        if not within or not measurement.input_domain.member(value):
            raise ValueError("dlap-1 randomises an integer within its bounds: clamp first")
        noised = min(max(measurement(value), self.low - self.reach), self.high + self.reach)
        return int(noised).to_bytes(4, "big", signed=True)

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(_measurement(self.low, self.high, self.scale).map(self.high - self.low))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        noised = int.from_bytes(payload, "big", signed=True)
        if len(payload) != 4 or not self.low - self.reach <= noised <= self.high + self.reach:
            raise IllegalPayloadError("a dlap-1 payload is a four-byte integer near the metric's bounds")
        return noised

    def says(self, noised: int, step: float) -> str:
        """See `Mechanism.says`."""
        return f"{noised * step:g}"

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(self.low, self.high + 1)

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(self.low - self.reach, self.high + self.reach + 1)

    def probability(self, value: int, noised: int) -> Fraction:
        """P(x) = (1−a)/(1+a)·a^|x|, the tails gathered at both ends; irrational, so here to fifty digits only."""
        with localcontext(prec=60):
            a = (-1 / Decimal(self.scale)).exp()
            inner = noised not in {self.low - self.reach, self.high + self.reach}
            return Fraction(a ** abs(noised - value) / (1 + a) * (1 - a if inner else 1))

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        return np.array([len(noised), np.asarray(noised, dtype=np.int64).sum()], dtype=np.int64)

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: the plain mean, since the noise is symmetric."""
        devices, total = sums
        return (total / devices,)

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`."""
        return (self.expected_error(sums[0]) ** 2,)

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Normal with a continuity correction: the variance is known exactly, sums of 50 draws are near normal.

        Half a step matters where the noise is weak: without it a range of 1 at ε = 4 is covered 93 times in a hundred.
        """
        [mean] = self.estimate(sums)
        reach = z_score(level) * self.expected_error(sums[0]) + 0.5 / sums[0]
        return (Interval(mean - reach, mean + reach),)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`; the same for every true value."""
        a = math.exp(-1 / self.scale)
        return math.sqrt(2 * a / devices) / (1 - a)


@lru_cache(maxsize=64)
def _measurement(low: int, high: int, scale: float) -> Any:
    enable_opendp()
    from opendp.domains import atom_domain
    from opendp.measurements import make_laplace
    from opendp.metrics import absolute_distance

    return make_laplace(atom_domain(bounds=(low, high), T="i64"), absolute_distance(T="i64"), scale=scale)
