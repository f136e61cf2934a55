"""Blocks of reports → sums per cell. Sums are int64 vectors that merge by addition, in any order.

Most are a few numbers, and every batch adds to them. A wide one (linear local hashing over
a large domain: 2 MB) would be written whole for a handful of reports; it is folded from the archive when
enough have come for it, and a reader adds what is not folded yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from discreet_aggregator.records import Block, Cell
    from discreet_contract.mechanisms.mechanism import Mechanism, Sums
    from discreet_contract.policy.plan import MetricPlan

_WIDE = 1024  # int64 cells: up to 8 kB are written with every batch
_FOLD_EACH = 16  # cells of a wide vector to one report that waits: folding writes 128 bytes a report

_widths: dict[str, int] = {}  # by metric version: the hash of a definition, so it never changes


def by_cell(blocks: Iterable[Block]) -> dict[Cell, list[Block]]:
    """Blocks that are summed together."""
    cells: dict[Cell, list[Block]] = {}
    for block in blocks:
        cells.setdefault(block.cell, []).append(block)
    return cells


def accumulate(blocks: Sequence[Block]) -> Sums:
    """Sums over the blocks of one cell, at least one, by its metric's own mechanism."""
    return blocks[0].plan.mechanism.accumulate([value for block in blocks for value in block.values])


def fold(payloads: Iterable[bytes], mechanism: Mechanism) -> Sums:
    """Sums over archived payloads, each string a whole number of them."""
    return mechanism.accumulate(
        [mechanism.decode(payload) for packed in payloads for payload in _split(packed, mechanism)]
    )


def is_wide(plan: MetricPlan) -> bool:
    """Whether its sums are too long to be written with every batch."""
    return _width(plan) > _WIDE


def is_fold_due(plan: MetricPlan, waiting: int) -> bool:
    """Whether enough reports wait for a wide vector to be written."""
    return waiting * _FOLD_EACH >= _width(plan)


def _width(plan: MetricPlan) -> int:
    width = _widths.get(plan.version)
    if width is None:
        width = _widths[plan.version] = len(plan.mechanism.accumulate(()))
    return width


def _split(packed: bytes, mechanism: Mechanism) -> Iterable[bytes]:
    length = mechanism.payload_bytes
    return (packed[start : start + length] for start in range(0, len(packed), length))
