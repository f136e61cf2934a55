"""Admitted reports → blocks: what is kept of them, packed by cell and policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_aggregator.records import Block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discreet_aggregator.records import Admitted, Cell


def pack(admitted: Iterable[Admitted]) -> list[Block]:
    """A batch's reports by cell and policy, ascending by report id: in what order they came is forgotten."""
    groups: dict[tuple[Cell, bytes], list[Admitted]] = {}
    for one in admitted:
        groups.setdefault((one.cell, one.report.policy_hash), []).append(one)
    return [_block(cell, policy_hash, group) for (cell, policy_hash), group in groups.items()]


def _block(cell: Cell, policy_hash: bytes, group: list[Admitted]) -> Block:
    group.sort(key=lambda one: one.report.report_id)
    return Block(
        cell,
        group[0].plan,
        policy_hash,
        tuple(one.value for one in group),
        b"".join(one.report.payload for one in group),
        b"".join(one.report.report_id for one in group),
    )
