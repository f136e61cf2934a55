"""k-ary randomised response (Kairouz, Bonawitz & Ramage 2016): id krr-1.

The true category with probability p = e^ε/(e^ε+k−1), each other one with q = (1−p)/(k−1).
Least variance for k < 3e^ε + 2; for a rare category it is (e^ε+k−2)/(n(e^ε−1)²).
Payload: the category's index, one byte for k ≤ 256, else two, big-endian.
Sums: [n, reports of category 0, …, of category k−1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from discreet_contract.accounting import to_nano
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.mechanism import Interval, enable_opendp, round_down, z_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.mechanism import Sums


@dataclass(frozen=True)
class KAryResponse:
    """One of k categories, 2 ≤ k ≤ 65,536; `epsilon` > 0. `labels` name the categories in their order."""

    id: ClassVar[str] = "krr-1"

    epsilon: float
    labels: tuple[str, ...]

    @property
    def categories(self) -> int:
        """Number of categories, k."""
        return len(self.labels)

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return 1 if self.categories <= 256 else 2

    @cached_property
    def truth(self) -> float:
        """p, the probability that a device names its own category."""
        e = math.exp(self.epsilon)
        return round_down(e / (e + self.categories - 1))

    @cached_property
    def lie(self) -> float:
        """q, the probability of each other category."""
        return (1 - self.truth) / (self.categories - 1)

    def odds(self) -> tuple[tuple[float, ...], ...]:
        """Row: true category; column: reported category; cell: probability."""
        k = self.categories
        return tuple(tuple(self.truth if i == j else self.lie for j in range(k)) for i in range(k))

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`. OpenDP answers an unknown category with a uniform draw, hence the check."""
        if type(value) is not int or not 0 <= value < self.categories:
            raise ValueError("krr-1 randomises the index of a declared category")
        noised: int = _measurement(self.categories, self.truth)(value)
        return noised.to_bytes(self.payload_bytes, "big")

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(_measurement(self.categories, self.truth).map(1))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        index = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or index >= self.categories:
            raise IllegalPayloadError("a krr-1 payload is the index of a declared category")
        return index

    def accumulate(self, noised: Sequence[int]) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        counts = np.bincount(np.asarray(noised, dtype=np.int64), minlength=self.categories)
        return np.concatenate(([len(noised)], counts)).astype(np.int64)

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: (count/n − q) / (p − q) for each category."""
        devices, *counts = sums
        return tuple((count / devices - self.lie) / (self.truth - self.lie) for count in counts)

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`; the unknown true count is replaced by its unbiased estimate."""
        devices = sums[0]
        return tuple(self._count_variance(share) / (devices * self._gap**2) for share in self.estimate(sums))

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval: every true share whose own noise explains the count, with continuity correction."""
        devices, *counts = sums
        return tuple(self._score_interval(count, devices, z_score(level)) for count in counts)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`."""
        worst = max(self._count_variance(0.0), self._count_variance(1.0))
        return math.sqrt(worst / devices) / self._gap

    @property
    def _gap(self) -> float:
        return self.truth - self.lie

    def _count_variance(self, share: float) -> float:
        """Variance per device of one category's count when this share of devices truly holds it."""
        p, q = self.truth, self.lie
        return q * (1 - q) + share * (p * (1 - p) - q * (1 - q))

    def _score_interval(self, count: int, devices: int, z: float) -> Interval:
        """Solve (excess − share·gap)² = z²·variance(share)/n, a quadratic in the share, at count ± ½."""
        slope = self._count_variance(1.0) - self._count_variance(0.0)
        ends = []
        for direction in (-1, 1):
            excess = (count + direction / 2) / devices - self.lie
            centre = 2 * excess * self._gap + z * z * slope / devices
            constant = excess * excess - z * z * self._count_variance(0.0) / devices
            root = math.sqrt(max(centre * centre - 4 * self._gap**2 * constant, 0.0))
            ends.append((centre + direction * root) / (2 * self._gap**2))
        return Interval(ends[0], ends[1])


@lru_cache(maxsize=64)
def _measurement(categories: int, truth: float) -> Any:
    enable_opendp()
    from opendp.measurements import make_randomized_response

    return make_randomized_response(list(range(categories)), prob=truth)
