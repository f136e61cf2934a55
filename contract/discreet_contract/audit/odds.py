"""A mechanism's odds for one value as NumPy arrays: what simulations draw from and samples are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace

if TYPE_CHECKING:
    import numpy.typing as npt

    from discreet_contract.mechanisms.mechanism import Mechanism

    Floats: TypeAlias = npt.NDArray[np.float64]
    Noised: TypeAlias = npt.NDArray[np.int64]

MAX_OUTPUTS = 300_000  # more would take seconds and memory for one row


@dataclass(frozen=True)
class Odds:
    """Probabilities of `first`, `first` + 1, … for one bounded value."""

    first: int
    probability: Floats

    @cached_property
    def cumulative(self) -> Floats:
        """Distribution function, its last cell exactly 1."""
        summed = np.cumsum(self.probability)
        summed[-1] = 1.0
        return summed

    def of(self, noised: Noised | Floats) -> Floats:
        """Probability of each of these outputs; 0 for what no honest draw gives."""
        place = noised.astype(np.int64) - self.first
        within = (place >= 0) & (place < len(self.probability))
        return np.where(within, self.probability[np.where(within, place, 0)], 0.0)

    def draw(self, rng: np.random.Generator, size: int) -> Noised:
        """Simulated outputs: not noise for any device."""
        return (np.searchsorted(self.cumulative, rng.random(size), side="right") + self.first).astype(np.int64)


def odds_of_value(mechanism: Mechanism, value: int) -> Odds | None:
    """The row of the odds table, or None where it has too many outputs."""
    return _row(cast("Any", mechanism), value)  # every mechanism is a frozen record, so it can be a key


@lru_cache(maxsize=16)
def _row(mechanism: Mechanism, value: int) -> Odds | None:
    outputs = mechanism.outputs()
    if len(outputs) > MAX_OUTPUTS:
        return None
    if isinstance(mechanism, DiscreteLaplace):  # its exact odds have fifty digits and take their time
        return Odds(outputs[0], _laplace(mechanism, value))
    exact = (mechanism.probability(value, noised) for noised in outputs)
    return Odds(outputs[0], np.fromiter(map(float, exact), dtype=np.float64, count=len(outputs)))


def _laplace(mechanism: DiscreteLaplace, value: int) -> Floats:
    outputs = mechanism.outputs()
    a = np.exp(-1 / mechanism.scale)
    probability: Floats = a ** np.abs(np.arange(outputs.start, outputs.stop) - value) / (1 + a)
    probability[1:-1] *= 1 - a  # the tails are gathered at both ends
    return probability
