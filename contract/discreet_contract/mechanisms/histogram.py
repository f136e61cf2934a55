"""A histogram is a category metric over buckets: which bucket a number falls into, and what buckets are called.

The bucket's index goes through any category mechanism; its privacy, estimates and intervals are theirs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_edges(edges: Sequence[float]) -> None:
    """Raise ValueError unless the edges are finite and rise strictly; at least one."""
    if not edges or not all(map(math.isfinite, edges)) or any(a >= b for a, b in pairwise(edges)):
        raise ValueError("a histogram's edges are finite numbers that rise")


def bucket_of(value: float, edges: Sequence[float]) -> int:
    """Index of the bucket: 0 below the first edge, i in [edge i−1, edge i), len(edges) from the last edge on.

    Every number has a bucket, infinities too; raises ValueError for NaN, which has none.
    """
    if math.isnan(value):
        raise ValueError("not a number falls into no bucket")
    return bisect_right(edges, value)


def bucket_labels(edges: Sequence[float]) -> tuple[str, ...]:
    """Names of all len(edges) + 1 buckets, in their order."""
    inner = (f"{low:g} … < {high:g}" for low, high in pairwise(edges))
    return (f"< {edges[0]:g}", *inner, f"≥ {edges[-1]:g}")
