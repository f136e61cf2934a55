"""What a reader may ask to be done to finished shares, by name: shown beside the estimate, never in its place.

Each is biased; `post_process` says how. Stored sums and published estimates stay as they are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.post_process import clip, norm_sub

if TYPE_CHECKING:
    from discreet_aggregator.estimate import MetricResult

_ONE_EACH = {"category", "histogram"}  # each device holds exactly one label, so shares sum to one
_SHARES = {"binary", "multi_select", "open", *_ONE_EACH}


class Adjustment(StrEnum):
    """The options."""

    NONE = "none"
    CLIP = "clip"  # each share into [0, 1]
    NORM_SUB = "norm-sub"  # the nearest shares that are not negative and sum to one


def adjusted(result: MetricResult, adjustment: Adjustment) -> tuple[float | None, ...]:
    """One figure a label in display units; None where the option says nothing about it."""
    shares = [figure.estimate * result.divide for figure in result.figures]
    match adjustment:
        case Adjustment.CLIP if result.type in _SHARES:
            found = clip(shares)
        case Adjustment.NORM_SUB if result.type in _ONE_EACH:
            found = norm_sub(shares)
        case _:
            return (None,) * len(shares)
    return tuple(share / result.divide for share in found)
