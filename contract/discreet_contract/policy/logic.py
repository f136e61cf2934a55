"""JSONLogic of segments, flags and experiments, read without evaluating it: its operators and its variables.

Evaluation is the agent's business; a policy is judged by what its conditions name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STANDARD = (
    "var missing missing_some if ?: == === != !== ! !! or and > >= < <= max min + - * / % "
    "map reduce filter all none some merge in cat substr"
)
OPERATORS = frozenset(_STANDARD.split()) | {"fractional", "sem_ver", "starts_with", "ends_with", "$ref"}
DEEPEST = 60  # of a rule, in parts within parts, with all that it takes in by `$ref`
MOST_PARTS = 5_000  # of a rule, likewise: devices answer nothing for larger ones
_OVER_ITEMS = {"map", "filter", "all", "none", "some", "reduce"}  # their second argument names an item's own parts


def unknown_operators(logic: object, known: frozenset[str] = OPERATORS) -> Iterator[str]:
    """What stands where an operator should and is none of the known ones."""
    if isinstance(logic, list):
        for part in logic:
            yield from unknown_operators(part, known)
    elif isinstance(logic, dict):
        for operation, arguments in logic.items():
            if operation not in known:
                yield str(operation)
            yield from unknown_operators(arguments, known)


def is_crowded(logic: object) -> bool:
    """Whether anything in a condition has no operator, or more than one, so that nobody could say what it means."""
    if isinstance(logic, list):
        return any(is_crowded(part) for part in logic)
    if not isinstance(logic, dict):
        return False
    return len(logic) != 1 or any(is_crowded(arguments) for arguments in logic.values())


def is_too_large(logic: object, shared: Mapping[str, object]) -> bool:
    """Whether a rule has more parts, or is deeper, than devices take. That it takes in itself is another fault."""
    left = MOST_PARTS
    nothing: frozenset[str] = frozenset()
    waiting: list[tuple[object, int, frozenset[str]]] = [(logic, 0, nothing)]  # part, depth, shared rules around it
    while waiting:
        part, depth, within = waiting.pop()
        left -= 1
        if left < 0 or depth > DEEPEST:
            return True
        listed: list[object] = part if isinstance(part, list) else []
        if isinstance(part, dict) and len(part) == 1:
            [(operation, given)] = part.items()
            listed = given if isinstance(given, list) else [given]
            if operation == "$ref":
                names = {name for name in listed[:1] if isinstance(name, str) and name in shared} - within
                listed, within = [shared[name] for name in names], within | names
        waiting += [(item, depth + 1, within) for item in listed]
    return False


def has_computed_variable(logic: object) -> bool:
    """Whether any variable's name is worked out while the condition runs, or stands for everything there is."""
    if isinstance(logic, list):
        return any(has_computed_variable(part) for part in logic)
    if not isinstance(logic, dict):
        return False
    for operation, arguments in logic.items():
        listed = arguments if isinstance(arguments, list) else [arguments]
        if operation == "var" and not (listed and isinstance(listed[0], str) and listed[0]):
            return True
        if has_computed_variable(listed):
            return True
    return False


def variables(logic: object) -> Iterator[str]:
    """Every variable that a condition reads by name."""
    if isinstance(logic, list):
        for part in logic:
            yield from variables(part)
    elif isinstance(logic, dict):
        for operation, arguments in logic.items():
            yield from _variables_of(str(operation), arguments)


def _variables_of(operation: str, arguments: object) -> Iterator[str]:
    listed = arguments if isinstance(arguments, list) else [arguments]
    if operation == "var":
        yield from (name for name in listed[:1] if isinstance(name, str) and name)
        yield from variables(listed)
    elif operation == "missing":
        yield from (name for name in listed if isinstance(name, str))
    elif operation == "missing_some":
        yield from (name for part in listed if isinstance(part, list) for name in part if isinstance(name, str))
    elif operation in _OVER_ITEMS:
        yield from variables(listed[:1] + listed[2:])
    else:
        yield from variables(arguments)


def evaluators(logic: object) -> Iterator[str]:
    """Names of the shared conditions that are taken in by `$ref`."""
    if isinstance(logic, list):
        for part in logic:
            yield from evaluators(part)
    elif isinstance(logic, dict):
        for operation, arguments in logic.items():
            if operation == "$ref" and isinstance(arguments, str):
                yield arguments
            else:
                yield from evaluators(arguments)


def named_variants(targeting: object) -> Iterator[str]:
    """Variants that a flag's targeting may answer with, where they stand as plain text."""
    if isinstance(targeting, str):
        yield targeting
    if not isinstance(targeting, dict):
        return
    for operation, arguments in targeting.items():
        if operation in {"if", "?:"} and isinstance(arguments, list):
            odd = len(arguments) % 2
            results = [part for at, part in enumerate(arguments) if at % 2 or (odd and at == len(arguments) - 1)]
            for result in results:
                yield from named_variants(result)
        if operation == "fractional" and isinstance(arguments, list):
            yield from (
                bucket[0] for bucket in arguments if isinstance(bucket, list) and bucket and isinstance(bucket[0], str)
            )
