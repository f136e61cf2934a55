"""Linear local hashing over F_q, q prime: id llh-1, for categories too many for k-ary response.

A category is written in base q as a vector x of t digits. The device draws a public vector s,
uniform among those whose leading digit is 1, and reports ⟨s, x⟩ mod q by q-ary randomised response
with p = e^ε/(e^ε+q−1): for whatever s, hashing is a 1-stable map, so the loss is that of OpenDP's response.

Two categories differ in some digit, so ⟨s, x−x'⟩ = 0 for exactly (q^(t−1)−1)/(q−1) of the (q^t−1)/(q−1)
vectors s: every pair collides with the same probability, x = 0 too (s = 0, by which all would agree, is never
drawn). A report supports each other category with probability b = (q^(t−1) − p)/(q^t − 1), a hair
below 1/q, hence (C/n − b)/(p − b) has no bias. Vectors that are multiples of s would say nothing new, so leaving
them out divides the table by q − 1. Reports are the blocks of an affine geometry, hence for q near e^ε + 1 the
variance is that of subset selection on q^t categories: 4e^ε/(e^ε−1)², the least there is for large k, within 3 %
(Feldman, Nelson, Nguyen & Talwar 2022 have the projective twin of this). Above ε = 5.5, q stays at 257.

Payload: direction·q + answer, big-endian, fewest bytes. Sums: [n, reports of each payload]; decoded in t(t−1)/2 passes.
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

MAX_CATEGORIES = 65_536
MAX_CELLS = 300_000  # of a table of sums: 2.4 MB; costs at most 4 % of variance
_PRIMES = tuple(n for n in range(2, 258) if all(n % d for d in range(2, math.isqrt(n) + 1)))


@dataclass(frozen=True)
class LinearLocalHashing:
    """One of k categories, 2 ≤ k ≤ 65,536; `epsilon` > 0. `labels` name the categories in their order."""

    id: ClassVar[str] = "llh-1"

    epsilon: float
    labels: tuple[str, ...]

    @cached_property
    def field(self) -> int:
        """The prime q up to 257 of least variance, averaged over the categories, whose table is not too large."""
        legal = (q for q in _PRIMES if q * _first_direction(q, self._digits(q)) <= MAX_CELLS)
        return min(legal, key=lambda q: self._odds(q, self._digits(q)).mean_variance(len(self.labels)))

    @cached_property
    def digits(self) -> int:
        """Digits of a category in base q, t ≥ 2."""
        return self._digits(self.field)

    @cached_property
    def directions(self) -> int:
        """Number of public vectors."""
        return _first_direction(self.field, self.digits)

    @cached_property
    def support(self) -> Support:
        """See `CategoryMechanism.support`: p and b."""
        return self._odds(self.field, self.digits)

    @property
    def truth(self) -> float:
        """p, the probability that the answer is the category's own hash value."""
        return self.support.own

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return fewest_bytes(len(self.outputs()))

    def hash_value(self, direction: int, value: int) -> int:
        """⟨s, x⟩ mod q: the public hash of a category."""
        q, vector = self.field, self.vector(direction)
        total = 0
        while vector:
            vector, weight = divmod(vector, q)
            value, digit = divmod(value, q)
            total += weight * digit
        return total % q

    def vector(self, direction: int) -> int:
        """The public vector s of this number, its digits in base q: q^m … 2q^m − 1 for each m below t."""
        free = next(m for m in range(self.digits) if direction < _first_direction(self.field, m + 1))
        return int(self.field**free) + direction - _first_direction(self.field, free)

    def randomize(self, value: int) -> bytes:
        """See `Mechanism.randomize`. The direction is public and says nothing; OpenDP draws the answer."""
        if type(value) is not int or not 0 <= value < len(self.labels):
            raise ValueError("llh-1 randomises the index of a declared category")
        direction = secrets.randbelow(self.directions)
        answer = draw_index(self.field, self.truth)(self.hash_value(direction, value))
        return int(direction * self.field + answer).to_bytes(self.payload_bytes, "big")

    def charge(self) -> int:
        """See `Mechanism.charge`."""
        return to_nano(draw_index(self.field, self.truth).map(1))

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        noised = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or noised not in self.outputs():
            raise IllegalPayloadError("an llh-1 payload is a public vector and a hash value")
        return noised

    def says(self, noised: int, step: float) -> str:  # noqa: ARG002 - no number in it
        """See `Mechanism.says`."""
        direction, answer = divmod(noised, self.field)
        return f"hash {direction} is {answer} of 0 to {self.field - 1}"

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(len(self.labels))

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(self.directions * self.field)

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`: a uniform direction, times q-ary response."""
        direction, answer = divmod(noised, self.field)
        p = Fraction(self.truth)
        return (p if answer == self.hash_value(direction, value) else (1 - p) / (self.field - 1)) / self.directions

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        table = np.bincount(np.asarray(noised, dtype=np.int64), minlength=len(self.outputs()))
        return np.concatenate(([len(noised)], table)).astype(np.int64)

    def supports(self, sums: Sequence[int]) -> Sequence[float]:
        """See `CategoryMechanism.supports`: C[x] = #{reports (s, y) with ⟨s, x⟩ = y}.

        Vectors with m free digits below their leading 1 see m + 1 digits of x, so C is built up digit by digit.
        """
        import numpy as np

        q, table = self.field, np.asarray(sums[1:])
        counts = np.zeros(1, dtype=table.dtype)
        for free in range(self.digits):
            first, after = _first_direction(q, free), _first_direction(q, free + 1)
            block = _partial_sums(table[first * q : after * q].reshape(-1, q), free)
            counts = np.tile(counts, q) + block.T.ravel()
        found: list[float] = counts[: len(self.labels)].tolist()
        return found

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: (C/n − b) / (p − b) for each category."""
        return self.support.estimate(self.supports(sums), sums[0])

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`; the public vectors' part of it included."""
        return self.support.variance(self.supports(sums), sums[0])

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval, as for k-ary response."""
        return self.support.interval(self.supports(sums), sums[0], level)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`."""
        return self.support.worst_error(devices)

    def _digits(self, q: int) -> int:
        digits = 2
        while q**digits < len(self.labels):
            digits += 1
        return digits

    def _odds(self, q: int, digits: int) -> Support:
        e = math.exp(self.epsilon)
        own = round_down(e / (e + q - 1))
        return Support(own, (q ** (digits - 1) - own) / (q**digits - 1))


def _first_direction(q: int, free: int) -> int:
    """Number of vectors with fewer than `free` digits below their leading 1."""
    return int((q**free - 1) // (q - 1))


def _partial_sums(block: npt.NDArray[np.int64], free: int) -> npt.NDArray[np.int64]:
    """From [s, y] to [x, z]: reports with ⟨s, x⟩ + z = y, s and x vectors of `free` digits.

    Each pass turns the slowest digit of s into a digit of x: [s, rest, y] → [rest, x, z], y = z + s·x.
    """
    import numpy as np

    q = block.shape[1]
    digit = np.arange(q)
    for _ in range(free):
        rows = block.reshape(q, -1, q)
        total = rows[0][:, None, :].repeat(q, axis=1)
        for s in range(1, q):
            total += rows[s][:, (digit[None, :] + s * digit[:, None]) % q]
        block = total.reshape(-1, q)
    return block
