"""The transparency log's tree: RFC 9162 hashing, inclusion and consistency proofs, made and checked.

Leaves are hashed as SHA-256(0x00 ‖ entry), nodes as SHA-256(0x01 ‖ left ‖ right), so that a
node can never pass for a leaf. Checks follow RFC 9162 §2.1.3.2 and §2.1.4.2: they answer
True or False and never raise, whatever the sizes and proofs are.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one log entry; 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes (RFC 9162 §2.1.1)."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = _largest_power_below(len(leaves))
    return _node(tree_root(leaves[:split]), tree_root(leaves[split:]))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Hashes that lead from the leaf at `index` to the root (RFC 9162 §2.1.3.1). 0 ≤ index < len(leaves)."""
    if len(leaves) <= 1:
        return []
    split = _largest_power_below(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), tree_root(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), tree_root(leaves[:split])]


def consistency_proof(leaves: Sequence[bytes], earlier_size: int) -> list[bytes]:
    """Hashes that show that the tree of the first `earlier_size` leaves grew into this one (RFC 9162 §2.1.4.1)."""
    if not 0 < earlier_size < len(leaves):
        return []
    return _subproof(leaves, earlier_size, is_whole=True)


def is_included(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that `leaf` is entry `index` of the tree of `size` entries with this root."""
    if not 0 <= index < size or not _are_hashes([leaf, root, *proof]):
        return False
    at, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False  # more hashes than levels
        if at & 1 or at == last:
            computed = _node(sibling, computed)
            while at & 1 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            computed = _node(computed, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(computed, root)


def is_consistent(earlier_size: int, size: int, earlier_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree with `root` only appended to the one with `earlier_root`.

    An empty earlier tree proves nothing and is refused: whoever has seen no head has nothing to compare.
    """
    if not 0 < earlier_size <= size:
        return False
    if earlier_size == size:
        return not proof and hmac.compare_digest(earlier_root, root)
    return (
        bool(proof)
        and _are_hashes([earlier_root, root, *proof])
        and _grew(earlier_size, size, earlier_root, root, proof)
    )


def _grew(earlier_size: int, size: int, earlier_root: bytes, root: bytes, proof: Sequence[bytes]) -> bool:
    is_power = earlier_size & (earlier_size - 1) == 0
    first, *rest = [earlier_root, *proof] if is_power else proof
    at, last = earlier_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = first
    for sibling in rest:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = _node(sibling, old), _node(sibling, new)
            while at & 1 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            new = _node(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and hmac.compare_digest(old, earlier_root) and hmac.compare_digest(new, root)


def _subproof(leaves: Sequence[bytes], earlier_size: int, *, is_whole: bool) -> list[bytes]:
    if earlier_size == len(leaves):
        return [] if is_whole else [tree_root(leaves)]
    split = _largest_power_below(len(leaves))
    if earlier_size <= split:
        return [*_subproof(leaves[:split], earlier_size, is_whole=is_whole), tree_root(leaves[split:])]
    return [*_subproof(leaves[split:], earlier_size - split, is_whole=False), tree_root(leaves[:split])]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _largest_power_below(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
