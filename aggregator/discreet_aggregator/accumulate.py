"""Admitted values → sums per cell. Sums are int64 vectors that merge by addition, in any order."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discreet_aggregator.records import Admitted, Cell
    from discreet_contract.mechanisms.mechanism import Sums
    from discreet_contract.policy.plan import MetricPlan


def accumulate(admitted: Iterable[Admitted]) -> dict[Cell, Sums]:
    """Sums over one batch, each cell by its metric's own mechanism; an empty batch gives no cell."""
    values: defaultdict[Cell, list[int]] = defaultdict(list)
    plans: dict[Cell, MetricPlan] = {}
    for one in admitted:
        values[one.cell].append(one.value)
        plans[one.cell] = one.plan
    return {cell: plans[cell].mechanism.accumulate(noised) for cell, noised in values.items()}
