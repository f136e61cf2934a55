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
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Sums = npt.NDArray[np.int64]

_DYADIC = 2**40


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval for the mean over the devices that reported, mechanism noise only."""

    low: float
    high: float


class Mechanism(Protocol):
    """One local randomiser and its estimator."""

    id: ClassVar[str]

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

    def accumulate(self, noised: Sequence[int]) -> Sums:
        """Sums over decoded payloads; vectors of the same mechanism add."""
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


def round_down(probability: float) -> float:
    """Largest multiple of 2⁻⁴⁰ at most `probability`.

    OpenDP's map of the exact odds can round to just above ε; odds a hair less sharp cannot,
    and an exact dyadic number is the same on device, server and auditor's machine.
    """
    return math.floor(probability * _DYADIC) / _DYADIC


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
