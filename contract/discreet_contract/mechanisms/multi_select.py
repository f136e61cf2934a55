"""At most L of k labels, through a category mechanism: ids msel-krr-1, msel-sss-1 and msel-llh-1.

A device fills L slots: one for each label that it holds, the rest with `none`. It samples one slot uniformly and
reports its content by the inner mechanism over the k labels and `none`. The choice of a slot depends on no data
but through the content, so the loss is the inner mechanism's; no amplification is claimed.

A label that is held is sampled with probability 1/L, so its support is b + (p−b)/L instead of p, and the
estimate is L times the inner one: shares of devices that hold each label, which need not sum to one.
Variance: close to L² times the inner one. Value: a bit mask, bit i for label i, at most L bits set.
Payload and sums: the inner mechanism's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.support import Support

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_contract.mechanisms.mechanism import CategoryMechanism, Interval, Noised, Sums


@dataclass(frozen=True)
class MultiSelect:
    """A set of at most `at_most` ≥ 1 of the k ≥ `at_most` labels that `inner` has before its last one, `none`."""

    inner: CategoryMechanism
    at_most: int

    @property
    def id(self) -> str:
        """See `Mechanism.id`."""
        return f"msel-{self.inner.id}"

    @property
    def epsilon(self) -> float:
        """See `Mechanism.epsilon`."""
        return self.inner.epsilon

    @property
    def labels(self) -> tuple[str, ...]:
        """See `Mechanism.labels`: `none` is not among them."""
        return self.inner.labels[:-1]

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return self.inner.payload_bytes

    @property
    def support(self) -> Support:
        """Odds with which a report supports a label that the device holds, and one that it does not."""
        p, b = self.inner.support.own, self.inner.support.other
        return Support(b + (p - b) / self.at_most, b)

    def slots(self, value: int) -> list[int]:
        """What one slot is sampled from: the labels held, then `none` up to L."""
        held = [label for label in range(value.bit_length()) if value >> label & 1]
        return held + [len(self.labels)] * (self.at_most - len(held))

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`."""
        if type(value) is not int or not 0 <= value < 1 << len(self.labels) or value.bit_count() > self.at_most:
            raise ValueError(
                f"{self.id} randomises a bit mask of declared labels, with no more of them than may be held"
            )
        return self.inner.randomize(secrets.choice(self.slots(value)))

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return self.inner.charge()

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        return self.inner.decode(payload)

    def says(self, noised: int, step: float) -> str:
        """See `Mechanism.says`: of the slot that was sampled."""
        return self.inner.says(noised, step)

    def domain(self) -> Iterator[int]:
        """See `Mechanism.domain`: by number of labels held."""
        for held in range(self.at_most + 1):
            for labels in combinations(range(len(self.labels)), held):
                yield sum(1 << label for label in labels)

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return self.inner.outputs()

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`: the mean over the slots."""
        slots = self.slots(value)
        return sum((self.inner.probability(slot, noised) for slot in slots), Fraction(0)) / self.at_most

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        return self.inner.accumulate(noised)

    def supports(self, sums: Sequence[int]) -> Sequence[float]:
        """See `CategoryMechanism.supports`."""
        return self.inner.supports(sums)[:-1]

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: the share of devices that hold each label."""
        return self.support.estimate(self.supports(sums), sums[0])

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`; the sampling of slots included."""
        return self.support.variance(self.supports(sums), sums[0])

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval, as for k-ary response."""
        return self.support.interval(self.supports(sums), sums[0], level)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`."""
        return self.support.worst_error(devices)
