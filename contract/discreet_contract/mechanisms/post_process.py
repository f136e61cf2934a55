"""What a reader may do to finished estimates, by name; never part of `estimate`, always biased, and how is said here.

Each keeps nothing secret and reveals nothing: estimates are public already. Published series stay raw, so that
figures can be summed over windows and labels without adding up a bias.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def clip(shares: Sequence[float]) -> tuple[float, ...]:
    """Each share into [0, 1], on its own.

    Bias: upwards for rare labels, by up to 0.4 standard errors where the true share is 0; the sum is too large.
    """
    return tuple(min(max(share, 0.0), 1.0) for share in shares)


def norm_sub(shares: Sequence[float]) -> tuple[float, ...]:
    """The nearest shares that are not negative and sum to one (projection on the simplex; Norm-Sub, Wang et al. 2020).

    For labels of which each device holds exactly one. One constant is taken off all shares and what falls below
    zero becomes zero. Bias: upwards for labels below that constant, downwards for the rest, most where there are
    many rare labels. An attacker's gain on one label is taken from all others: look at the raw series first.
    """
    descending = sorted(shares, reverse=True)
    total, constant = 0.0, math.inf
    for kept, share in enumerate(descending, start=1):
        total += share
        if share <= (total - 1) / kept:
            break
        constant = (total - 1) / kept
    return tuple(max(share - constant, 0.0) for share in shares)


def monotone(values: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """The nearest values that never rise, in weighted squares (isotonic regression by pooling adjacent violators).

    For survival curves. Bias: towards the mean of a stretch where noise makes the raw curve rise; steps of the true
    curve come out flatter. Values of weight 0 take that of their stretch, or of the stretch before.
    """
    pools: list[tuple[float, float, int]] = []  # weighted sum, weight, values pooled
    for value, weight in zip(values, weights, strict=True):
        pools.append((value * weight, weight, 1))
        while len(pools) > 1 and _rises(*pools[-2][:2], *pools[-1][:2]):
            later, earlier = pools.pop(), pools.pop()
            pools.append((earlier[0] + later[0], earlier[1] + later[1], earlier[2] + later[2]))
    return tuple(total / weight if weight else math.nan for total, weight, length in pools for _ in range(length))


def _rises(total: float, weight: float, next_total: float, next_weight: float) -> bool:
    """Whether the next pool lies above, or one of the two has no weight and so no value."""
    return weight == 0 or next_weight == 0 or next_total / next_weight > total / weight
