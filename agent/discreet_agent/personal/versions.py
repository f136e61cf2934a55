"""`sem_ver`: versions as flagd reads them: SemVer 2.0.0, with an optional `v` and without minor or patch if need be.

Build metadata do not count. What is no version, or no operator, gives null.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from discreet_agent.personal.coerce import text

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 256  # characters
_WHOLE = r"(0|[1-9][0-9]*)"
_VERSION = re.compile(
    rf"[vV]?{_WHOLE}(?:\.{_WHOLE})?(?:\.{_WHOLE})?"
    r"(?:-((?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)

_Identifier: TypeAlias = tuple[int, int, str]  # numeric ones come first
Version: TypeAlias = tuple[int, int, int, int, tuple[_Identifier, ...]]  # the fourth: 1 for a release, above all before

_OPERATORS: dict[str, Callable[[Version, Version], bool]] = {
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "^": lambda one, other: one[0] == other[0],
    "~": lambda one, other: one[:2] == other[:2],
}


def matches(given: tuple[Any, ...]) -> bool | None:
    """Whether [version, operator, version] holds; None where it cannot be said."""
    if len(given) != 3:
        return None
    one, other = parse(given[0]), parse(given[2])
    compare = _OPERATORS.get(given[1]) if isinstance(given[1], str) else None
    return None if one is None or other is None or compare is None else compare(one, other)


def parse(value: Any) -> Version | None:
    """A version to compare by, from a text or, as in flagd, from a number: 1.2 is 1.2.0."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    written = text(value)
    found = _VERSION.fullmatch(written) if len(written) <= _LONGEST else None
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    identifiers = tuple(_identifier(part) for part in before.split(".")) if before else ()
    return int(major), int(minor or 0), int(patch or 0), 0 if before else 1, identifiers


def _identifier(part: str) -> _Identifier:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)
