"""Memoised k-ary response for values that stay (L-GRR: Arcolezi, Couchot, Al Bouna & Xiao 2022): id lgrr-1.

A *permanent* response to the value is drawn once and stored; each window reports an *instantaneous* response
to it. However many windows are read, nobody learns more than the permanent response: ε_permanent in all. One report
alone reveals ε_permanent/2. OpenDP draws both.

A new permanent response may be drawn at `draws` dates in a lifetime that the policy fixes, and at no other:
whether the value changed in between must not show. Totals: `epsilon` = draws · ε_permanent is the loss of a
lifetime, by sequential composition, and is charged whole at first use. The literature also lets a device draw
whenever its value is new and states distinct values · ε_permanent. That is no bound: the reports then show *when*
the value changed, and the loss grows with the number of windows (tests/privacy/test_memoised.py computes it). Here
a changed value waits for the next date.

Noise does not average out over windows: the permanent part of the variance is the same draw in each of them.
Payload: index of the category, one byte for k ≤ 256, else two. Sums: as krr-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from discreet_contract.accounting import NANO
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.k_ary import draw_index
from discreet_contract.mechanisms.mechanism import fewest_bytes, round_down
from discreet_contract.mechanisms.support import Support

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.mechanisms.mechanism import Interval, Noised, Sums

_FIRST_SHARE = 0.5  # of ε_permanent that a single report may reveal; part of the id's meaning


@dataclass(frozen=True, slots=True)
class VarianceParts:
    """Variance of one label's estimate: what every window shares where values stay, and what each draws anew."""

    permanent: float
    instantaneous: float


@dataclass(frozen=True)
class MemoisedResponse:
    """One of k categories, 2 ≤ k ≤ 65,536; `epsilon` > 0 for a lifetime with `draws` ≥ 1 permanent responses."""

    id: ClassVar[str] = "lgrr-1"

    epsilon: float
    labels: tuple[str, ...]
    draws: int = 1

    @property
    def payload_bytes(self) -> int:
        """See `Mechanism.payload_bytes`."""
        return fewest_bytes(len(self.labels))

    @cached_property
    def permanent_odds(self) -> Support:
        """Probability that the permanent response names the device's own category, and any other."""
        e, k = math.exp(self.epsilon / self.draws), len(self.labels)
        own = round_down(e / (e + k - 1))
        return Support(own, (1 - own) / (k - 1))

    @cached_property
    def instantaneous_odds(self) -> Support:
        """Probability that a report names the permanent response, and any other category.

        Gaps of k-ary responses multiply: this one's is the gap at ε_permanent/2 over the gap at ε_permanent.
        """
        k = len(self.labels)
        first = math.exp(self.epsilon / self.draws * _FIRST_SHARE)
        gap = (first - 1) / (first + k - 1) / self.permanent_odds.gap
        own = round_down(gap + (1 - gap) / k)
        return Support(own, (1 - own) / (k - 1))

    @cached_property
    def support(self) -> Support:
        """See `CategoryMechanism.support`: of one report, both responses together."""
        permanent, instantaneous = self.permanent_odds, self.instantaneous_odds
        own = permanent.own * instantaneous.own + (1 - permanent.own) * instantaneous.other
        return Support(own, (1 - own) / (len(self.labels) - 1))

    def permanent(self, value: int) -> int:
        """Draw the response that the caller stores, durably, before any report is made of it."""
        if type(value) is not int or not 0 <= value < len(self.labels):
            raise ValueError("lgrr-1 randomises the index of a declared category")
        drawn: int = draw_index(len(self.labels), self.permanent_odds.own)(value)
        return drawn

    def randomize_permanent(self, permanent: int) -> bytes:
        """Draw one window's payload from the stored response. It adds nothing to what that response may reveal."""
        if type(permanent) is not int or not 0 <= permanent < len(self.labels):
            raise ValueError("lgrr-1 randomises a stored response, the index of a declared category")
        drawn: int = draw_index(len(self.labels), self.instantaneous_odds.own)(permanent)
        return drawn.to_bytes(self.payload_bytes, "big")

    def randomize(self, value: int) -> bytes:
        """The first report of a lifetime, its permanent response forgotten. A device calls the two steps instead."""
        return self.randomize_permanent(self.permanent(value))

    def charge(self) -> int:
        """See `Mechanism.charge`: all permanent responses of a lifetime, at first use."""
        one = draw_index(len(self.labels), self.permanent_odds.own).map(1)
        return math.ceil(Fraction(one) * self.draws * NANO)

    def decode(self, payload: bytes) -> int:
        """See `Mechanism.decode`."""
        index = int.from_bytes(payload, "big")
        if len(payload) != self.payload_bytes or index >= len(self.labels):
            raise IllegalPayloadError("an lgrr-1 payload is the index of a declared category")
        return index

    def says(self, noised: int, step: float) -> str:  # noqa: ARG002 - no number in it
        """See `Mechanism.says`."""
        return self.labels[noised]

    def domain(self) -> range:
        """See `Mechanism.domain`."""
        return range(len(self.labels))

    def outputs(self) -> range:
        """See `Mechanism.outputs`."""
        return range(len(self.labels))

    def probability(self, value: int, noised: int) -> Fraction:
        """See `Mechanism.probability`, of a single report; its ratios are those of ε_permanent/2."""
        k = len(self.labels)
        p1, p2 = Fraction(self.permanent_odds.own), Fraction(self.instantaneous_odds.own)
        own = p1 * p2 + (1 - p1) * (1 - p2) / (k - 1)
        return own if noised == value else (1 - own) / (k - 1)

    def permanent_probability(self, value: int, permanent: int) -> Fraction:
        """Exact odds of the permanent response: what all reports together reveal."""
        p = Fraction(self.permanent_odds.own)
        return p if permanent == value else (1 - p) / (len(self.labels) - 1)

    def accumulate(self, noised: Noised) -> Sums:
        """See `Mechanism.accumulate`."""
        import numpy as np

        counts = np.bincount(np.asarray(noised, dtype=np.int64), minlength=len(self.labels))
        return np.concatenate(([len(noised)], counts)).astype(np.int64)

    def supports(self, sums: Sequence[int]) -> Sequence[float]:
        """See `CategoryMechanism.supports`."""
        return sums[1:]

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.estimate`: the shares of values that the permanent responses were drawn for."""
        return self.support.estimate(self.supports(sums), sums[0])

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """See `Mechanism.variance`, of one window."""
        return self.support.variance(self.supports(sums), sums[0])

    def variance_parts(self, sums: Sequence[int]) -> tuple[VarianceParts, ...]:
        """The variance of one window in its two parts, true shares taken as estimated but within [0, 1].

        A mean over windows in which values stay keeps the permanent part whole and divides the other by their number.
        """
        return tuple(self._parts(min(max(share, 0.0), 1.0), sums[0]) for share in self.estimate(sums))

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Score interval of one window, as for k-ary response."""
        return self.support.interval(self.supports(sums), sums[0], level)

    def expected_error(self, devices: int) -> float:
        """See `Mechanism.expected_error`, of one window."""
        return self.support.worst_error(devices)

    def _parts(self, share: float, devices: int) -> VarianceParts:
        first, second = self.permanent_odds, self.instantaneous_odds
        named = first.other + share * first.gap  # share of devices whose permanent response is this label
        return VarianceParts(
            permanent=first.count_variance(share) / (devices * first.gap**2),
            instantaneous=second.count_variance(named) / (devices * self.support.gap**2),
        )
