"""Subset selection (Ye & Barg 2017; Wang et al. 2016) by way of a public partition: id sss-1.

Between k-ary response and hashing: a report is a subset of w of K = m·w categories, K ≥ k the least
multiple of w (what is beyond k is nobody's). Deal the K categories at random into m buckets of w; answer
with a bucket by m-ary randomised response of one's own, p = e^ε/(e^ε+m−1); send the bucket's contents as a set.

Proof. For a given deal, bucket-of is a 1-stable map, so the answer loses what OpenDP's response does, at most ε.
The deal does not depend on the value, and the set is a function of deal and answer: neither adds to the loss.
By symmetry all C(K−1, w−1) sets with x are alike, each of probability p / C(K−1, w−1), and all C(K−1, w) sets
without x, each of (1−p) / C(K−1, w): the classical odds, and their ratio p(m−1)/(1−p) is that of the response.

Another category is in the set with probability b = (w−p)/(K−1), hence (C/n − b)/(p − b) has no bias.
Payload: rank of the set in colexicographic order, Σ C(c_i, i) over its members c_1 < … < c_w, big-endian in
the fewest bytes, at most four. Sums: [n, reports whose set holds category 0, …, category k−1].
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
from discreet_contract.mechanisms.k_ary import draw_index
from discreet_contract.mechanisms.mechanism import fewest_bytes, round_down
from discreet_contract.mechanisms.support import Support

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from discreet_contract.mechanisms.mechanism import Interval, Noised, Sums

MAX_CATEGORIES = 1024  # beyond it hashing is as good, and dealing takes a millisecond
_MAX_SIZE = 17  # the middle binomial coefficient C(2w, w) passes four bytes at w = 18
_MAX_OUTPUTS = 2**32
_DENSE = 2**20  # up to so many different sets are counted in a table, more are sorted


@dataclass(frozen=True)
class SubsetSelection:
    """One of k categories, 2 ≤ k ≤ 1,024; `epsilon` > 0. `labels` name the categories in their order."""

    id: ClassVar[str] = "sss-1"

    epsilon: float
    labels: tuple[str, ...]

    @cached_property
    def size(self) -> int:
        """Members of a set, w: least variance averaged over the categories; the smaller of two alike."""
        sizes = range(1, min(_MAX_SIZE, (len(self.labels) + 1) // 2) + 1)
        legal = (w for w in sizes if math.comb(self._buckets(w) * w, w) <= _MAX_OUTPUTS)
        return min(legal, key=lambda w: self._odds(w).mean_variance(len(self.labels)))

    @property
    def buckets(self) -> int:
        """m, the number of buckets."""
        return self._buckets(self.size)

    @property
    def padded(self) -> int:
        """K, the number of categories with those that are nobody's."""
        return self.size * self.buckets

    @cached_property
    def support(self) -> Support:
        """See `CategoryMechanism.support`: p and b."""
        return self._odds(self.size)

    @property
    def truth(self) -> float:
        """p, the probability that a device names its own bucket."""
        return self.support.own

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return fewest_bytes(len(self.outputs()))

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`. The deal is public and says nothing; OpenDP draws the bucket."""
        if type(value) is not int or not 0 <= value < len(self.labels):
            raise ValueError("sss-1 randomises the index of a declared category")
        dealt = list(range(self.padded))
        secrets.SystemRandom().shuffle(dealt)
        bucket = draw_index(self.buckets, self.truth)(dealt.index(value) // self.size)
        return self.rank(dealt[bucket * self.size : (bucket + 1) * self.size]).to_bytes(self.payload_bytes, "big")

    def rank(self, members: Sequence[int]) -> int:
        """Place of a set among all of its size, in colexicographic order."""
        return sum(math.comb(member, i) for i, member in enumerate(sorted(members), start=1))

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(draw_index(self.buckets, self.truth).map(1))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        noised = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or noised not in self.outputs():
            raise IllegalPayloadError("an sss-1 payload is the rank of a set of categories")
        return noised

    def says(self, noised: int, step: float) -> str:  # noqa: ARG002 - no number in it
        """See `Mechanism.says`."""
        named = (self.labels[member] for member in sorted(self.members(noised)) if member < len(self.labels))
        return f"one of: {', '.join(named)}"

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(len(self.labels))

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(math.comb(self.padded, self.size))

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`."""
        p, others = Fraction(self.truth), self.padded - 1
        if value in self.members(noised):
            return p / math.comb(others, self.size - 1)
        return (1 - p) / math.comb(others, self.size)

    def members(self, noised: int) -> set[int]:
        """The set of this rank: from the largest member down, each the last whose binomial coefficient fits."""
        found, member = set(), self.padded - 1
        for i in range(self.size, 0, -1):
            while math.comb(member, i) > noised:
                member -= 1
            found.add(member)
            noised -= math.comb(member, i)
        return found

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`: each different set is taken apart once."""
        import numpy as np

        ranks, times = _tally(np.asarray(noised, dtype=np.int64), len(self.outputs()))
        counts = np.zeros(self.padded, dtype=np.int64)
        for i in range(self.size, 0, -1):
            column = np.array([math.comb(member, i) for member in range(self.padded)], dtype=np.int64)
            largest = np.searchsorted(column, ranks, side="right") - 1
            np.add.at(counts, largest, times)
            ranks = ranks - column[largest]
        return np.concatenate(([len(noised)], counts[: len(self.labels)])).astype(np.int64)

    def supports(self, sums: Sequence[int]) -> Sequence[float]:
        """See `CategoryMechanism.supports`."""
        return sums[1:]

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: (C/n − b) / (p − b) for each category."""
        return self.support.estimate(self.supports(sums), sums[0])

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`."""
        return self.support.variance(self.supports(sums), sums[0])

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval, as for k-ary response."""
        return self.support.interval(self.supports(sums), sums[0], level)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`."""
        return self.support.worst_error(devices)

    def _buckets(self, size: int) -> int:
        return max(2, -(-len(self.labels) // size))

    def _odds(self, size: int) -> Support:
        e, buckets = math.exp(self.epsilon), self._buckets(size)
        own = round_down(e / (e + buckets - 1))
        return Support(own, (size - own) / (size * buckets - 1))


def _tally(ranks: npt.NDArray[np.int64], outputs: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Different ranks, and how often each occurs."""
    import numpy as np

    if outputs > _DENSE:
        different, times = np.unique(ranks, return_counts=True)
        return different, times.astype(np.int64)
    table = np.bincount(ranks, minlength=outputs)
    [different] = np.nonzero(table)
    return different, table[different]
