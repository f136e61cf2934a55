"""k-ary randomised response (Kairouz, Bonawitz & Ramage 2016): id krr-1.

The true category with probability p = e^ε/(e^ε+k−1), each other one with q = (1−p)/(k−1).
Least variance for k < 3e^ε + 2; for a rare category it is (e^ε+k−2)/(n(e^ε−1)²).
Payload: the category's index, one byte for k ≤ 256, else two, big-endian.
Sums: [n, reports of category 0, …, of category k−1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from discreet_contract.accounting import to_nano
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.mechanism import enable_opendp, round_down
from discreet_contract.mechanisms.support import Support

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.mechanism import Interval, Noised, Sums


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
        noised: int = draw_index(self.categories, self.truth)(value)
        return noised.to_bytes(self.payload_bytes, "big")

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(draw_index(self.categories, self.truth).map(1))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        index = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or index >= self.categories:
            raise IllegalPayloadError("a krr-1 payload is the index of a declared category")
        return index

    def says(self, noised: int, step: float) -> str:  # noqa: ARG002 - no number in it
        """See `Mechanism.says`."""
        return self.labels[noised]

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(self.categories)

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(self.categories)

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`: the dyadic p, and the rest in equal parts."""
        p = Fraction(self.truth)
        return p if noised == value else (1 - p) / (self.categories - 1)

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        counts = np.bincount(np.asarray(noised, dtype=np.int64), minlength=self.categories)
        return np.concatenate(([len(noised)], counts)).astype(np.int64)

    @property
    def support(self) -> Support:
        """See `CategoryMechanism.support`: p and q."""
        return Support(self.truth, self.lie)

    def supports(self, sums: Sequence[int]) -> Sequence[float]:
        """See `CategoryMechanism.supports`."""
        return sums[1:]

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: (count/n − q) / (p − q) for each category."""
        return self.support.estimate(self.supports(sums), sums[0])

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`; the unknown true count is replaced by its unbiased estimate."""
        return self.support.variance(self.supports(sums), sums[0])

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval: every true share whose own noise explains the count, with continuity correction."""
        return self.support.interval(self.supports(sums), sums[0], level)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`."""
        return self.support.worst_error(devices)


@lru_cache(maxsize=64)
def draw_index(categories: int, truth: float) -> Any:
    """OpenDP's k-ary response on the indices 0 … k−1; an index outside is answered by a uniform draw."""
    enable_opendp()
    from opendp.measurements import make_randomized_response

    return make_randomized_response(list(range(categories)), prob=truth)
