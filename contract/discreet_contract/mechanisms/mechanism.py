"""What every mechanism offers. Values are small integers: a bit, a category's index, a clamped count.

`randomize` and `charge` run on the device and need OpenDP; `accumulate` runs on the server
and needs NumPy; everything else needs neither. Sums are int64 vectors whose first cell is
the number of reports, so that they merge by addition.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from fractions import Fraction

    import numpy as np
    import numpy.typing as npt

    from discreet_contract.mechanisms.support import Support

    Sums = npt.NDArray[np.int64]
    Noised = Sequence[int] | npt.NDArray[np.int64]

_DYADIC = 2**40
_MARGIN = 2**-10  # of 2⁻⁴⁰: more than what floating point is off by


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval for the mean over the devices that reported, mechanism noise only."""

    low: float
    high: float


class Mechanism(Protocol):
    """One local randomiser and its estimator."""

    @property
    def id(self) -> str:
        """Under which policies and reports name it, at most 16 characters; its meaning never changes."""
        ...

    @property
    def epsilon(self) -> float:
        """ε that one draw may cost at the most."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """What each element of an estimate stands for."""
        ...

    @property
    def payload_bytes(self) -> int:
        """Length of every payload."""
        ...

    def randomize(self, value: int) -> bytes:
        """Draw one payload for one bounded value (OpenDP). Raises ValueError for a value outside the domain."""
        ...

    def charge(self) -> int:
        """What OpenDP's own privacy map says one draw costs, in nano-ε, rounded up."""
        ...

    def decode(self, payload: bytes) -> int:
        """Noised integer inside a payload; raises IllegalPayloadError for bytes no honest draw gives."""
        ...

    def says(self, noised: int, step: float) -> str:
        """A noised integer in words, for the device's owner; `step` is the raw unit in one integer."""
        ...

    def domain(self) -> Iterable[int]:
        """Every value that `randomize` takes, the smallest first; they may be too many to go through."""
        ...

    def outputs(self) -> range:
        """Every noised integer that an honest draw gives, and so every one that `decode` returns."""
        ...

    def probability(self, value: int, noised: int) -> Fraction:
        """Exact probability that one draw for `value` is decoded as `noised`; for dlap-1 to fifty digits.

        One number in constant time, so that an auditor can enumerate a small mechanism (`odds_of`)
        and pick pairs of values and outputs of one too large to enumerate.
        """
        ...

    def accumulate(self, noised: Noised) -> Sums:
        """Sums over decoded payloads, vectorised; vectors of the same mechanism add."""
        ...

    def estimate(self, sums: Sequence[int]) -> tuple[float, ...]:
        """Unbiased mean over the reporting devices, one figure a label. Never clipped."""
        ...

    def variance(self, sums: Sequence[int]) -> tuple[float, ...]:
        """Variance of each estimate due to the noise, the devices' true values held fixed."""
        ...

    def interval(self, sums: Sequence[int], level: float) -> tuple[Interval, ...]:
        """Interval for each figure at `level` (0.95), for these devices."""
        ...

    def expected_error(self, devices: int) -> float:
        """Standard error of one figure for this many devices; the worst case over true values."""
        ...


class CategoryMechanism(Mechanism, Protocol):
    """A mechanism over labels whose reports each support some of them: its sums are counts of support in disguise."""

    @property
    def support(self) -> Support:
        """Odds with which a report supports the device's own label and any other."""
        ...

    def supports(self, sums: Sequence[int]) -> Sequence[float]:
        """Reports that support each label."""
        ...


def odds_of(mechanism: Mechanism, value: int) -> dict[int, Fraction]:
    """Exact odds of every output for one value. They sum to one; `outputs` should be short enough to go through."""
    return {noised: mechanism.probability(value, noised) for noised in mechanism.outputs()}


def fewest_bytes(outputs: int) -> int:
    """Length of the shortest payload that tells this many outputs apart."""
    return max(1, (outputs - 1).bit_length() + 7 >> 3)


def round_down(probability: float) -> float:
    """Largest multiple of 2⁻⁴⁰ below `probability` by 2⁻⁵⁰ or more.

    OpenDP's map of the exact odds can round to just above ε; odds a hair less sharp cannot,
    and an exact dyadic number is the same on device, server and auditor's machine. Without the margin
    the hair is missing where the odds themselves lie on the grid, or above it by rounding alone.
    """
    return math.floor(probability * _DYADIC - _MARGIN) / _DYADIC


def z_score(level: float) -> float:
    """Half-width of a two-sided normal interval in standard errors."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def enable_opendp() -> None:
    """Switch on the one OpenDP feature that its randomised responses and Laplace need."""
    if "numpy" not in sys.modules and importlib.util.find_spec("numpy") is None:
        # OpenDP tries to import NumPy at every call and finds it missing each time: say so once (1.3-1.7 times faster).
        sys.modules["numpy"] = None  # type: ignore[assignment]
    from opendp.mod import enable_features

    enable_features("contrib")
