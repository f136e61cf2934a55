"""Mechanism ids, which of them can carry a metric, and which one does it best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.mechanisms import dithered_bit, dithered_levels, dithered_mix, local_hashing, subset_selection
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.dithered_bit import DitheredBit
from discreet_contract.mechanisms.dithered_levels import DitheredLevels
from discreet_contract.mechanisms.dithered_mix import DitheredMix
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.local_hashing import LinearLocalHashing
from discreet_contract.mechanisms.memoised import MemoisedResponse
from discreet_contract.mechanisms.multi_select import MultiSelect
from discreet_contract.mechanisms.randomized_response import RandomizedResponse
from discreet_contract.mechanisms.subset_selection import SubsetSelection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.mechanisms.mechanism import CategoryMechanism, Mechanism

# Metric type → mechanism ids that the policy language lets carry it, the one `auto` takes first. An id is never reused.
FITTING: dict[str, tuple[str, ...]] = {
    "binary": (RandomizedResponse.id,),
    "category": (KAryResponse.id,),
    "count": (DiscreteLaplace.id,),
    "mean": (DiscreteLaplace.id,),
}

_OVER_LABELS = (KAryResponse.id, SubsetSelection.id, LinearLocalHashing.id)
_OVER_INTEGERS = (DitheredBit.id, DitheredLevels.id, DiscreteLaplace.id, DitheredMix.id)
# Metric type → every id that `best` chooses from, the plainest first. A memoised mechanism is declared, never chosen.
CARRIERS: dict[str, tuple[str, ...]] = {
    "binary": (RandomizedResponse.id,),
    "category": _OVER_LABELS,
    "histogram": _OVER_LABELS,
    "multi_select": tuple(f"msel-{inner}" for inner in _OVER_LABELS),
    "open": (LinearLocalHashing.id,),
    "count": _OVER_INTEGERS,
    "mean": _OVER_INTEGERS,
}
NONE_SLOT = "none"


@dataclass(frozen=True, slots=True)
class Shape:
    """Public parameters of a metric that its mechanism depends on; each mechanism ignores what it does not need."""

    labels: tuple[str, ...] = ()  # names of categories or of what may be selected
    bounds: tuple[int, int] = (0, 1)  # integer range of a count or mean
    at_most: int = 1  # labels that one device may select
    draws: int = 1  # permanent responses in a lifetime


def build(
    mechanism_id: str,
    epsilon: float,
    labels: tuple[str, ...],
    bounds: tuple[int, int],
    *,
    at_most: int = 1,
    draws: int = 1,
) -> Mechanism:
    """The mechanism of this id for a metric of these public parameters (see `Shape`).

    Raises KeyError for an id nobody declared.
    """
    if mechanism_id.startswith("msel-"):
        return MultiSelect(_over_labels(mechanism_id.removeprefix("msel-"), epsilon, (*labels, NONE_SLOT)), at_most)
    match mechanism_id:
        case RandomizedResponse.id:
            return RandomizedResponse(epsilon)
        case DiscreteLaplace.id:
            return DiscreteLaplace(epsilon, *bounds)
        case DitheredBit.id:
            return DitheredBit(epsilon, *bounds)
        case DitheredLevels.id:
            return DitheredLevels(epsilon, *bounds)
        case DitheredMix.id:
            return DitheredMix(epsilon, *bounds)
        case MemoisedResponse.id:
            return MemoisedResponse(epsilon, labels, draws)
    return _over_labels(mechanism_id, epsilon, labels)


def _over_labels(mechanism_id: str, epsilon: float, labels: tuple[str, ...]) -> CategoryMechanism:
    match mechanism_id:
        case KAryResponse.id:
            return KAryResponse(epsilon, labels)
        case SubsetSelection.id:
            return SubsetSelection(epsilon, labels)
        case LinearLocalHashing.id:
            return LinearLocalHashing(epsilon, labels)
    raise KeyError(mechanism_id)


def best(metric_type: str, epsilon: float, shape: Shape, *, payload_limit: int = 4) -> str:
    """Id of the mechanism with the least variance whose payload is within the limit; of two alike the plainer.

    Categories are compared by the variance averaged over all labels, which is the same for every distribution.
    k-ary response wins for k up to about 3e^ε + 2, subset selection up to a few dozen (or a few hundred where
    ε ≥ 3), hashing beyond. Counts and means are compared by their worst case over values: the dithered
    bit wins up to about ε = 1 and for a range of 1, dithered levels from about 1.2 on, and a mixture of both in
    between, where it is more than 7 % better; discrete Laplace is behind by a factor of two and more.
    Raises ValueError where nothing fits the limit.
    """
    found = [
        (cost(one) * (_MIXED if one.id == DitheredMix.id else 1.0), one.id)
        for one in _candidates(metric_type, epsilon, shape)
        if one.payload_bytes <= payload_limit
    ]
    if not found:
        raise ValueError(f"no mechanism carries a {metric_type} of this size in {payload_limit} bytes")
    least = min(cost for cost, _ in found)
    return next(mechanism_id for cost, mechanism_id in found if cost <= least * _ALIKE)


_MIXED = 1.075  # a mixture's reports hold the distribution only half as well: it must earn that
_ALIKE = 1 + 1e-6  # rounding of the odds, and of the C library, must not decide


def _candidates(metric_type: str, epsilon: float, shape: Shape) -> Iterator[Mechanism]:
    for mechanism_id in CARRIERS[metric_type]:
        if fits(mechanism_id, shape):
            yield build(mechanism_id, epsilon, shape.labels, shape.bounds, at_most=shape.at_most)


def fits(mechanism_id: str, shape: Shape) -> bool:
    """Whether a mechanism of this id can be built for this shape."""
    k = len(shape.labels) + mechanism_id.startswith("msel-")
    match mechanism_id.removeprefix("msel-"):
        case SubsetSelection.id:
            return 2 <= k <= subset_selection.MAX_CATEGORIES
        case KAryResponse.id | LinearLocalHashing.id | MemoisedResponse.id:
            return 2 <= k <= local_hashing.MAX_CATEGORIES
        case DitheredBit.id:
            return 1 <= shape.bounds[1] - shape.bounds[0] <= dithered_bit.MAX_STEPS
        case DitheredMix.id:
            return 2 <= shape.bounds[1] - shape.bounds[0] <= dithered_mix.MAX_STEPS
        case DitheredLevels.id:
            return 2 <= shape.bounds[1] - shape.bounds[0] <= dithered_levels.MAX_STEPS
    return True


def cost(mechanism: Mechanism) -> float:
    """What `best` compares: n times a variance."""
    if isinstance(mechanism, KAryResponse | SubsetSelection | LinearLocalHashing | MultiSelect):
        return mechanism.support.mean_variance(len(mechanism.labels))
    return mechanism.expected_error(1) ** 2
