"""`var`, `missing` and `missing_some`: reading an evaluation's context by dotted names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from discreet_agent.personal.coerce import number, text
from discreet_agent.personal.frame import FLAGD, Frame

if TYPE_CHECKING:
    from discreet_agent.personal.frame import Step

_LONGEST_INDEX = 9  # digits


def named(name: str, default: Step | None, *, at_root: bool) -> Step:
    """`var` of a name that stands in the rule."""
    parts = tuple(name.split(".")) if name else ()
    if at_root and (not parts or parts[0] == FLAGD):
        return _with_default(lambda data, frame: walk(_whole(data, frame), parts), default)
    if len(parts) == 1 and default is None:
        return lambda data, _: data.get(name) if type(data) is dict else walk(data, parts)
    if len(parts) == 2 and default is None:
        return _pair(*parts)
    return _with_default(lambda data, _: walk(data, parts), default)


def _pair(first: str, second: str) -> Step:
    """`features.minutes` and its like, the most frequent kind."""
    parts = (first, second)

    def step(data: Any, _: Frame) -> Any:
        if type(data) is dict:
            inner = data.get(first)
            if isinstance(inner, dict):
                return inner.get(second)
        return walk(data, parts)

    return step


def computed(name: Step, default: Step | None, *, at_root: bool) -> Step:
    """`var` of a name that the rule works out."""
    return _with_default(lambda data, frame: _read(name(data, frame), data, frame, at_root=at_root), default)


def missing(keys: list[Step], *, at_root: bool) -> Step:
    """Those of the names that have no value; the first argument may be all of them as a list."""

    def step(data: Any, frame: Frame) -> list[Any]:
        given = [key(data, frame) for key in keys]
        if given and isinstance(given[0], list):
            given = given[0]
        return _missing(given, data, frame, at_root=at_root)

    return step


def missing_some(arguments: list[Step], *, at_root: bool) -> Step:
    """The same, but nothing where at least so many are there."""

    def step(data: Any, frame: Frame) -> list[Any]:
        given = [argument(data, frame) for argument in arguments]
        needed, keys = given[:2] if len(given) > 1 else (None, None)
        if not isinstance(keys, list):
            return []
        absent = _missing(keys, data, frame, at_root=at_root)
        return [] if len(keys) - len(absent) >= number(needed) else absent

    return step


def walk(data: Any, parts: tuple[str, ...]) -> Any:
    """What stands at the end of a path, or None. Lists are read by index."""
    for part in parts:
        if isinstance(data, dict) or isinstance(data, Mapping):  # noqa: SIM101 - asking for Mapping costs
            data = data.get(part)
        elif isinstance(data, list | str):
            data = _item(data, part)
        else:
            return None
    return data


def _item(data: list[Any] | str, part: str) -> Any:
    if part == "length":  # JavaScript's own; rules written for it rely on it
        return len(data)
    if not (part.isascii() and part.isdigit()) or len(part) > _LONGEST_INDEX or (part[0] == "0" and part != "0"):
        return None
    index = int(part)
    return data[index] if index < len(data) else None


def _read(name: Any, data: Any, frame: Frame, *, at_root: bool) -> Any:
    if at_root:
        data = _whole(data, frame)
    if name is None or name == "":
        return data
    written = text(name)
    frame.spend(len(written) >> 4)
    return walk(data, tuple(written.split(".")))


def _missing(keys: list[Any], data: Any, frame: Frame, *, at_root: bool) -> list[Any]:
    frame.spend(len(keys))
    found = ((key, _read(key, data, frame, at_root=at_root)) for key in keys)
    return [key for key, value in found if value is None or value == ""]


def _with_default(read: Step, default: Step | None) -> Step:
    if default is None:
        return read

    def step(data: Any, frame: Frame) -> Any:
        value = read(data, frame)
        return default(data, frame) if value is None else value

    return step


def _whole(data: Any, frame: Frame) -> Any:
    return {**data, FLAGD: frame.flagd()} if isinstance(data, Mapping) else data
