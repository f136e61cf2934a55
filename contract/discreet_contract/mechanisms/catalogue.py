"""Mechanism ids, and which one a metric gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.randomized_response import RandomizedResponse

if TYPE_CHECKING:
    from discreet_contract.mechanisms.mechanism import Mechanism

# Metric type → mechanism ids that can carry it, the one `auto` takes first. An id is never reused.
FITTING: dict[str, tuple[str, ...]] = {
    "binary": (RandomizedResponse.id,),
    "category": (KAryResponse.id,),
    "count": (DiscreteLaplace.id,),
    "mean": (DiscreteLaplace.id,),
}


def build(mechanism_id: str, epsilon: float, labels: tuple[str, ...], bounds: tuple[int, int]) -> Mechanism:
    """The mechanism of this id for a metric of these public parameters.

    `labels` are the category names (krr-1), `bounds` the integer range (dlap-1); a mechanism
    ignores what it does not need. Raises KeyError for an id nobody declared.
    """
    match mechanism_id:
        case RandomizedResponse.id:
            return RandomizedResponse(epsilon)
        case KAryResponse.id:
            return KAryResponse(epsilon, labels)
        case DiscreteLaplace.id:
            return DiscreteLaplace(epsilon, *bounds)
    raise KeyError(mechanism_id)
