"""`where:` of a metric: the comparisons of JSONLogic over one event's own fields.

Only what can be checked against the signal's declaration when the policy is read: no
arithmetic, no truthiness, no missing variables. A field that an event lacks makes every
comparison on it false.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FieldValue: TypeAlias = float | int | bool | str
Condition: TypeAlias = dict[str, Any]
Predicate: TypeAlias = "Callable[[Mapping[str, FieldValue]], bool]"

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUALITY: dict[str, Callable[[Any, Any], bool]] = {"==": operator.eq, "!=": operator.ne}
_COMPARE = _ORDER | _EQUALITY


def holds(condition: Condition, fields: Mapping[str, FieldValue]) -> bool:
    """Whether an event's fields satisfy a condition that `problems` found nothing wrong with."""
    [(operation, arguments)] = condition.items()
    match operation:
        case "and":
            return all(holds(part, fields) for part in arguments)
        case "or":
            return any(holds(part, fields) for part in arguments)
        case "!":
            return not holds(arguments[0], fields)
        case "in":
            return fields.get(arguments[0]["var"]) in arguments[1]
    value = fields.get(arguments[0]["var"])
    return value is not None and _COMPARE[operation](value, arguments[1])


def compile_condition(condition: Condition) -> Predicate:
    """The same as a function of the fields alone: several times faster, for what is asked of every event."""
    [(operation, arguments)] = condition.items()
    if operation in {"and", "or"}:
        return _compile_all([compile_condition(part) for part in arguments], expected=operation == "and")
    if operation == "!":
        negated = compile_condition(arguments[0])
        return lambda fields: not negated(fields)
    return _compile_comparison(operation, arguments[0]["var"], arguments[1])


def _compile_all(parts: list[Predicate], *, expected: bool) -> Predicate:
    def compiled(fields: Mapping[str, FieldValue]) -> bool:
        for part in parts:  # a plain loop: no generator for every event
            if part(fields) is not expected:
                return not expected
        return expected

    return compiled


def _compile_comparison(operation: str, name: str, constant: Any) -> Predicate:
    if operation == "in":
        return lambda fields: fields.get(name) in constant
    if operation == "==":
        return lambda fields: fields.get(name) == constant  # a constant is never None
    compare = _COMPARE[operation]

    def compiled(fields: Mapping[str, FieldValue]) -> bool:
        value = fields.get(name)
        return value is not None and compare(value, constant)

    return compiled


def problems(condition: object, kinds: Mapping[str, str]) -> Iterator[str]:
    """Everything wrong with a condition, given each field's kind (`number`, `category`, `boolean`)."""
    if not isinstance(condition, dict) or len(condition) != 1:
        yield 'a condition is one operator and its arguments, like {">=": [{var: delay}, 60]}'
        return
    [(operation, arguments)] = condition.items()
    if not isinstance(arguments, list):
        yield f"the arguments of {operation!r} are a list"
    elif operation in {"and", "or"}:
        for part in arguments:
            yield from problems(part, kinds)
        if not arguments:
            yield f"{operation!r} wants at least one condition"
    elif operation == "!":
        if len(arguments) != 1:
            yield "'!' wants exactly one condition"
        for part in arguments:
            yield from problems(part, kinds)
    elif operation == "in" or operation in _COMPARE:
        yield from _comparison_problems(operation, arguments, kinds)
    else:
        yield f"unknown operator {operation!r}; known: and, or, !, in, {', '.join(_COMPARE)}"


def _comparison_problems(operation: str, arguments: list[Any], kinds: Mapping[str, str]) -> Iterator[str]:
    match arguments:
        case [{"var": str(name), **rest}, constant] if not rest:
            pass
        case _:
            yield f"{operation!r} compares [{{var: field}}, constant]"
            return
    kind = kinds.get(name)
    if kind is None:
        yield f"the signal has no field {name!r}; it has {', '.join(sorted(kinds)) or 'none'}"
        return
    if operation in _ORDER and kind != "number":
        yield f"{operation!r} orders numbers, {name!r} is a {kind}"
    constants = constant if operation == "in" else [constant]
    if not isinstance(constants, list) or not constants:
        yield "'in' wants a list of constants"
    elif not all(_fits(item, kind) for item in constants):
        yield f"{name!r} is a {kind} and is compared with something else"


def _fits(constant: object, kind: str) -> bool:
    match kind:
        case "number":
            return isinstance(constant, int | float) and not isinstance(constant, bool)
        case "boolean":
            return isinstance(constant, bool)
        case _:
            return isinstance(constant, str)
