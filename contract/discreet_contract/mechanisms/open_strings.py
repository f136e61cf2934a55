"""Strings from an open vocabulary: llh-1 over 65,536 hashed cells, read with a published dictionary.

A device reports the cell of its string; nothing of the string but its cell enters the mechanism. The reader hashes
the words of a dictionary and looks up their cells. Two things blur that: words of the dictionary that share
a cell cannot be told apart and are reported together, as one figure; and strings that no dictionary
lists spread over all cells, so that each figure stands on a floor of unlisted ÷ 65,536, which is estimated
and taken off. One frequent unlisted string may still share the cell of a word (odds 1 in 65,536 per metric salt):
a surprising word is checked under another salt before it is believed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.local_hashing import MAX_CATEGORIES, LinearLocalHashing
from discreet_contract.mechanisms.mechanism import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CELLS = MAX_CATEGORIES


@dataclass(frozen=True, slots=True)
class WordFigure:
    """Share of devices whose string is one of `words`: one word, or several that share a cell. Never clipped."""

    words: tuple[str, ...]
    estimate: float
    interval: Interval
    variance: float


@dataclass(frozen=True, slots=True)
class DictionaryResult:
    """Figures in the dictionary's order, and what it does not list."""

    figures: tuple[WordFigure, ...]
    unlisted: float  # share of devices whose string is in no cell of the dictionary's by itself; unbiased
    floor: float  # what was taken off each figure for unlisted strings: unlisted ÷ 65,536


@lru_cache(maxsize=1)
def cell_labels() -> tuple[str, ...]:
    """Names of all cells; some megabytes, which a device without such a metric does not need."""
    return tuple(f"{cell:04x}" for cell in range(CELLS))


def open_mechanism(epsilon: float) -> LinearLocalHashing:
    """The mechanism that carries cells."""
    return LinearLocalHashing(epsilon, cell_labels())


def cell_of(text: str, salt: str) -> int:
    """Cell of a string under a metric's public salt: the first two bytes of its BLAKE2b, UTF-8, as it stands.

    No normalisation: spelling and case are the policy's to fix before. The salt is a prefix with its own length, so
    that no other salt and string hash the same bytes.
    """
    prefix = salt.encode()
    digest = hashlib.blake2b(digest_size=8, person=b"discreet-open-1")
    digest.update(len(prefix).to_bytes(4, "big") + prefix + text.encode())
    return int.from_bytes(digest.digest()[:2], "big")


def estimate_dictionary(
    mechanism: LinearLocalHashing, sums: Sequence[int], words: Iterable[str], salt: str, level: float
) -> DictionaryResult:
    """Shares of the words, floor taken off; words of one cell merged.

    Of D cells looked up the mean is listed + unlisted·D/65,536 over random salts, and listed + unlisted = 1:
    that gives both without bias. Variance and interval are those of the cell; the floor's own noise
    is below theirs by a factor of about 65,536/√D. Raises ValueError for a dictionary of more than 32,768 cells.
    """
    merged: dict[int, list[str]] = {}
    for word in dict.fromkeys(words):
        merged.setdefault(cell_of(word, salt), []).append(word)
    if len(merged) > CELLS // 2:
        raise ValueError("a dictionary of more than half of all cells leaves nothing to tell the unlisted by")
    counts = mechanism.supports(sums)
    looked_up = [counts[cell] for cell in merged]
    estimates = mechanism.support.estimate(looked_up, sums[0])
    variances = mechanism.support.variance(looked_up, sums[0])
    intervals = mechanism.support.interval(looked_up, sums[0], level)
    unlisted = (1 - sum(estimates)) / (1 - len(merged) / CELLS)
    floor = unlisted / CELLS
    return DictionaryResult(
        figures=tuple(
            WordFigure(tuple(group), estimate - floor, Interval(ends.low - floor, ends.high - floor), variance)
            for group, estimate, ends, variance in zip(merged.values(), estimates, intervals, variances, strict=True)
        ),
        unlisted=unlisted,
        floor=floor,
    )
