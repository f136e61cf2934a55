"""Builtins → structs with every problem at once, each at its own path.

msgspec stops at the first fault; an operator wants them all. So the records' own type
annotations are walked here, and msgspec judges one leaf at a time.
"""

from __future__ import annotations

import difflib
import types
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import fields as struct_fields

from discreet_contract.errors import PermanentError

Path = tuple[str | int, ...]
T = TypeVar("T", bound=Struct)


class ShapeProblem(msgspec.Struct, frozen=True):
    """A fault at a path; `on_key` says that the key itself is wrong, not its value."""

    path: Path
    rule: str
    message: str
    on_key: bool = False


def check_shape(record: type[T], value: object) -> tuple[T | None, list[ShapeProblem]]:
    """`value` as a `record`, or None with everything that keeps it from being one."""
    problems: list[ShapeProblem] = []
    _walk(record, value, (), problems)
    if problems:
        return None, problems
    try:
        return msgspec.convert(value, record), []
    except msgspec.ValidationError as exc:  # the walk above and msgspec must agree
        raise PermanentError(f"policy shape: {exc}", hint="please report this as a bug with the policy") from exc


def closest(name: str, known: list[str]) -> str:
    """“; did you mean x?” for a near miss, else a list of what is known."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known)) or 'none'}"


def _walk(kind: Any, value: object, path: Path, problems: list[ShapeProblem]) -> None:
    bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    origin = get_origin(bare)
    before = len(problems)
    if isinstance(bare, type) and issubclass(bare, Struct):
        _walk_struct(bare, value, path, problems)
        return
    if origin in {Union, types.UnionType}:
        _walk_union(bare, value, path, problems)
        return
    if origin is dict:
        key_kind, item_kind = get_args(bare)
        _walk_mapping((key_kind, item_kind), value, path, problems)
    elif origin is tuple and get_args(bare)[-1] is Ellipsis:
        _walk_sequence(get_args(bare)[0], value, path, problems)
    if len(problems) == before:
        _check_leaf(kind if origin is None or not _has_structs(bare) else _emptied(kind), value, path, problems)


def _walk_struct(record: type[Struct], value: object, path: Path, problems: list[ShapeProblem]) -> None:
    if not isinstance(value, dict):
        problems.append(ShapeProblem(path, "TYPE", f"expected a mapping, found {_kind_of(value)}"))
        return
    hints = get_type_hints(record, include_extras=True)
    known = {field.encode_name: field for field in struct_fields(record)}
    tag_field = record.__struct_config__.tag_field
    for key, item in value.items():
        if key in known:
            _walk(hints[known[key].name], item, (*path, key), problems)
        elif key != tag_field:
            problems.append(
                ShapeProblem(
                    (*path, key),
                    "UNKNOWN_KEY",
                    f"unknown key {key!r}{closest(str(key), list(known))}",
                    on_key=True,
                )
            )
    for name, field in known.items():
        if field.required and name not in value:
            problems.append(ShapeProblem(path, "MISSING_KEY", f"key {name!r} is missing", on_key=True))


def _walk_union(kind: Any, value: object, path: Path, problems: list[ShapeProblem]) -> None:
    kinds = get_args(kind)
    if value is None and type(None) in kinds:
        return
    choices = [choice for choice in kinds if choice is not type(None)]
    if len(choices) == 1:
        _walk(choices[0], value, path, problems)
        return
    if not any(_has_structs(choice) for choice in choices):
        _check_leaf(kind, value, path, problems)
        return
    if not isinstance(value, dict):
        problems.append(ShapeProblem(path, "TYPE", f"expected a mapping, found {_kind_of(value)}"))
        return
    by_tag = {choice.__struct_config__.tag: choice for choice in choices}
    tag_field = choices[0].__struct_config__.tag_field
    tag = value.get(tag_field)
    if not isinstance(tag, str) or tag not in by_tag:
        near = closest(str(tag), [str(known) for known in by_tag])
        at = (*path, tag_field) if tag_field in value else path
        problems.append(ShapeProblem(at, "VALUE", f"{tag_field!r} is {tag!r}{near}"))
        return
    _walk_struct(by_tag[tag], value, path, problems)


def _walk_mapping(kinds: tuple[Any, Any], value: object, path: Path, problems: list[ShapeProblem]) -> None:
    key_kind, item_kind = kinds
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        _check_leaf(key_kind, key, (*path, key), problems, on_key=True)
        if item_kind is not Any:
            _walk(item_kind, item, (*path, key), problems)


def _walk_sequence(item_kind: Any, value: object, path: Path, problems: list[ShapeProblem]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _walk(item_kind, item, (*path, index), problems)


def _check_leaf(kind: Any, value: object, path: Path, problems: list[ShapeProblem], *, on_key: bool = False) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        message = str(exc).split(" - at `", 1)[0]
        if get_origin(kind) is Literal:
            message = f"{value!r} is not one of {', '.join(map(repr, get_args(kind)))}"
        elif "regex" in message:
            message = f"{value!r} does not have the form wanted here ({_describe(kind)})"
        problems.append(ShapeProblem(path, "KEY" if on_key else "VALUE", message, on_key=on_key))


def _describe(kind: Any) -> str:
    for extra in get_args(kind)[1:]:
        if isinstance(extra, msgspec.Meta) and (extra.description or extra.pattern):
            return extra.description or str(extra.pattern)
    return "see the field reference"


def _has_structs(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return True
    return any(_has_structs(part) for part in get_args(kind) if part is not Ellipsis)


def _emptied(kind: Any) -> Any:
    """The same container and its own limits, with items that were already walked taken as they are."""
    if get_origin(kind) is Annotated:
        inner, *extras = get_args(kind)
        return Annotated[(_emptied(inner), *extras)]
    return dict[str, Any] if get_origin(kind) is dict else list[Any]


def _kind_of(value: object) -> str:
    names = {
        dict: "a mapping",
        list: "a list",
        str: "text",
        bool: "true/false",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "nothing")
