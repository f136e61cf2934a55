"""`fractional`: which bucket a value falls into, as flagd's third version has it (docs/decisions/0024).

MurmurHash3 (x86, 32 bits, seed 0) of the canonical CBOR, times the sum of the weights, by 2³².
Whatever is wrong with the arguments gives null, as flagd says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from discreet_agent.personal.coerce import LogicError
from discreet_agent.personal.encode import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Buckets: TypeAlias = tuple[int, tuple[tuple[int, Any], ...]]  # sum of weights; for each: sum so far, what it gives
_LARGEST_SUM = 2**31 - 1


def hashing() -> Callable[[bytes], int]:
    """The hash, imported only where a policy splits: most devices never need it."""
    from mmh3 import mmh3_32_uintdigest

    return mmh3_32_uintdigest


def buckets(given: Sequence[Any]) -> Buckets | None:
    """The weights of [[variant, weight], [variant], …]; None where they are none."""
    total, found = 0, []
    for part in given:
        if not isinstance(part, list) or not 1 <= len(part) <= 2:
            return None
        weight = _weight(part[1]) if len(part) == 2 else 1
        if weight is None:
            return None
        total += weight
        found.append((total, part[0]))
    return (total, tuple(found)) if 0 < total <= _LARGEST_SUM else None


def choose(key: Any, those: Buckets, digest: Callable[[bytes], int]) -> Any:
    """What the bucket of `key` gives."""
    try:
        hashed = digest(canonical(key))
    except LogicError:
        return None
    total, found = those
    place = hashed * total >> 32
    for bound, variant in found:
        if place < bound:
            return variant
    return None


def _weight(given: Any) -> int | None:
    """Whole numbers; less than nothing is nothing. 50.0 is whole: JSON knows one kind of number."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    if isinstance(given, float) and not given.is_integer():
        return None
    return max(0, int(given))
