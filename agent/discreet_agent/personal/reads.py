"""What a rule can read of its context, found without evaluating it.

Rules for the items of a list see the item only, so they read nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GROUPS = ("features", "scores", "segments", "experiments")
_LOOPS = frozenset({"map", "filter", "all", "none", "some", "reduce"})


def readings(rule: Any, evaluators: Mapping[str, Any]) -> frozenset[str]:
    """What evaluating it may look up of the agent's groups: `features.minutes`, or `features` for any of them."""
    found: set[str] = set()
    for operation, arguments in _calls(rule, evaluators):
        for name in _names(operation, arguments):
            found.update(_in_groups(name))
    return frozenset(found)


def needs(rule: Any, evaluators: Mapping[str, Any]) -> frozenset[str]:
    """The names it reads as they stand, without those for which it says itself what holds where they are absent."""
    return frozenset(
        arguments[0]
        for operation, arguments in _calls(rule, evaluators)
        if operation == "var" and len(arguments) == 1 and isinstance(arguments[0], str) and arguments[0]
    )


def _calls(rule: Any, evaluators: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Every operation that sees the whole context, those of shared conditions included, each of these once."""
    seen: set[str] = set()
    waiting = [rule]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict) or len(part) != 1:
            continue
        [(operation, given)] = part.items()
        arguments = given if isinstance(given, list) else [given]
        if operation == "$ref":
            fresh = {name for name in arguments[:1] if isinstance(name, str)} - seen
            seen |= fresh
            waiting += [evaluators[name] for name in fresh if name in evaluators]
            continue
        asked = _asked_segment(operation, arguments)
        if asked is not None:  # one segment, not all of them
            yield "var", [asked]
            continue
        yield operation, arguments
        waiting += arguments[:1] + arguments[2:] if operation in _LOOPS else arguments


def _asked_segment(operation: str, arguments: list[Any]) -> str | None:
    """`{in: [binge, {var: segments}]}`: the name of what it asks for."""
    match operation, arguments:
        case "in", [str(name), {"var": "segments" | ["segments"], **others}] if not others:
            return f"segments.{name}"
    return None


def _names(operation: str, arguments: list[Any]) -> Iterator[Any]:
    match operation:
        case "var":
            yield arguments[0] if arguments else ""
        case "missing":
            for name in arguments:
                yield from name if isinstance(name, list) else [name]
        case "missing_some":
            for names in arguments[1:2]:
                yield from names if isinstance(names, list) else [names]


def _in_groups(name: Any) -> Iterator[str]:
    if name is None or isinstance(name, dict | list) or name == "":
        yield from GROUPS  # worked out while it runs, or everything there is
    elif isinstance(name, str):
        group, _, rest = name.partition(".")
        if group in GROUPS:
            yield f"{group}.{rest.partition('.')[0]}" if rest else group
