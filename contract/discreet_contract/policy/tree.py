"""Two trees of JSON builtins → the places where they differ, the smallest that have a name of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str, ...]


class Absent:
    """Stands for a key that one side lacks."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = Absent()
# Whole expressions: a change inside one is a change of the whole.
_EXPRESSIONS = {"where", "when", "targeting", "per_device"}


@dataclass(frozen=True, slots=True)
class Difference:
    """What stood at a path, and what stands there now."""

    path: Path
    old: Any
    new: Any


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[Difference]:
    """Differences in the order of the old tree, then what the new one adds. A thing that came or went is one."""
    if isinstance(old, dict) and isinstance(new, dict) and not (path and path[-1] in _EXPRESSIONS):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, str(key)))
    elif not same(old, new):
        yield Difference(path, old, new)


def same(old: Any, new: Any) -> bool:
    """Equal as JSON: 1 and 1.0 are the same number, 1 and true are not; order within an object means nothing."""
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(same(old[key], new[key]) for key in old)
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)):
        return len(old) == len(new) and all(map(same, old, new))
    return bool(old == new)
