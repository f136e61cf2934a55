"""SchemaVer of a signal: which part of model-revision-addition a change of its fields must raise.

model: events made for the old version may be refused or misread (a field removed, narrowed, made required,
another unit). revision: old events still pass, but the field now takes more or is read in another step
(wider bounds, no longer required, another grid). addition: only something new beside what there was (an optional
field, values appended). Words, retention and the like are no part of the schema and raise nothing.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from discreet_contract.policy.diff_rules import Compatibility
from discreet_contract.policy.tree import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discreet_contract.policy.diff import Change


class Bump(IntEnum):
    """How far a version must rise; larger is more."""

    NONE = 0
    ADDITION = 1
    REVISION = 2
    MODEL = 3


def bump_needed(changes: Iterable[Change], signal: str) -> Bump:
    """Largest bump that the changes of one signal's fields ask for."""
    inside = (change for change in changes if change.path[:3] == ("signals", signal, "fields"))
    return max((_bump_of(change) for change in inside), default=Bump.NONE)


def _bump_of(change: Change) -> Bump:
    if change.compatibility is Compatibility.BREAKING:
        return Bump.MODEL
    if change.compatibility is Compatibility.COSMETIC:
        return Bump.NONE
    extends = change.old is ABSENT or change.path[-1] == "values"
    return Bump.ADDITION if extends else Bump.REVISION


def bump_made(old: str, new: str) -> Bump | None:
    """Part of the version that rose; NONE if the two are equal, None if it fell."""
    before, after = _parts(old), _parts(new)
    if after < before:
        return None
    for bump, was, now in zip((Bump.MODEL, Bump.REVISION, Bump.ADDITION), before, after, strict=True):
        if was != now:
            return bump
    return Bump.NONE


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split("-")))
