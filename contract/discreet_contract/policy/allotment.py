"""Which positions of its layer each experiment has: a pure function of the policy, so that anyone can recompute it.

Experiments that state `slots` have these. The others follow in the order of start and name, each in the lowest
positions that no experiment of its layer with common days has. A layer's holdout has the topmost ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from discreet_contract.assignment import POSITIONS
from discreet_contract.policy.terms import share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.trials import Experiment

Ranges: TypeAlias = tuple[tuple[int, int], ...]  # [first, last), rising, apart; in hundredths of a percent


def positions_of(percent: str) -> int:
    """A share as a number of positions."""
    return round(share(percent) * POSITIONS)


def allot(policy: Policy) -> dict[str, Ranges]:
    """Experiment → its positions; fewer than its traffic where its layer is full, which a checked policy never is."""
    allotted = {name: read_slots(item.slots) for name, item in policy.experiments.items() if item.slots}
    waiting = sorted((item.start, name) for name, item in policy.experiments.items() if not item.slots)
    for _, name in waiting:
        experiment = policy.experiments[name]
        taken = [
            one for other, ranges in allotted.items() if _meet(policy.experiments[other], experiment) for one in ranges
        ]
        free = _free(taken, POSITIONS - held_by_layer(policy, experiment.layer))
        allotted[name] = _lowest(free, positions_of(experiment.traffic))
    return allotted


def held_by_layer(policy: Policy, layer: str) -> int:
    """How many positions a layer holds out."""
    return positions_of(policy.layers[layer].holdout) if layer in policy.layers else 0


def size(ranges: Iterable[tuple[int, int]]) -> int:
    """How many positions these are."""
    return sum(last - first for first, last in ranges)


def read_slots(slots: Iterable[str]) -> Ranges:
    """`["0%-10%", "30%-40%"]` as positions, joined where they touch."""
    parts = sorted(
        (positions_of(first), positions_of(last)) for first, _, last in (slot.partition("-") for slot in slots)
    )
    return _joined(parts)


def write_slots(ranges: Iterable[tuple[int, int]]) -> str:
    """Positions as the language writes them."""
    texts = (f'"{_percent(first)}-{_percent(last)}"' for first, last in ranges)
    return f"[{', '.join(texts)}]"


def holds(ranges: Ranges, position: int) -> bool:
    """Whether a position is among these."""
    return any(first <= position < last for first, last in ranges)


def covers(ranges: Ranges, others: Ranges) -> bool:
    """Whether all of the others are among these."""
    return all(any(first <= low and high <= last for first, last in ranges) for low, high in others)


def clash(policy: Policy, name: str) -> str | None:
    """An experiment of the same layer, with common days, that states positions which this one states too."""
    own = policy.experiments[name]
    for other_name, other in policy.experiments.items():
        if other_name != name and other.layer == own.layer and _meet(own, other):
            theirs = read_slots(other.slots)
            if any(low < last and first < high for low, high in theirs for first, last in read_slots(own.slots)):
                return other_name
    return None


def _meet(one: Experiment, other: Experiment) -> bool:
    return one.layer == other.layer and one.start < other.end and other.start < one.end


def _free(taken: Iterable[tuple[int, int]], until: int) -> Iterator[tuple[int, int]]:
    begin = 0
    for first, last in sorted(taken):
        if begin < min(first, until):
            yield begin, min(first, until)
        begin = max(begin, last)
    if begin < until:
        yield begin, until


def _lowest(free: Iterable[tuple[int, int]], wanted: int) -> Ranges:
    parts: list[tuple[int, int]] = []
    for first, last in free:
        if wanted <= 0:
            break
        parts.append((first, min(last, first + wanted)))
        wanted -= parts[-1][1] - first
    return _joined(parts)


def _joined(parts: Iterable[tuple[int, int]]) -> Ranges:
    joined: list[tuple[int, int]] = []
    for first, last in parts:
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return tuple(joined)


def _percent(positions: int) -> str:
    return f"{positions / 100:g}%"
