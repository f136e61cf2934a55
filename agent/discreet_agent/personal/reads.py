"""What a rule can read of features, scores, segments and experiments, found without evaluating it.

`features.minutes` for one, `features` where a rule may read any of them. Rules for the items
of a list see the item only, so they read nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GROUPS = ("features", "scores", "segments", "experiments")
_LOOPS = frozenset({"map", "filter", "all", "none", "some", "reduce"})


def readings(rule: Any, evaluators: Mapping[str, Any]) -> frozenset[str]:
    """Every name that evaluating the rule may look up, through the shared conditions that it takes in."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [rule]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict) and len(part) == 1:
            [(operation, given)] = part.items()
            arguments = given if isinstance(given, list) else [given]
            if operation == "$ref":
                fresh = {name for name in arguments[:1] if isinstance(name, str)} - seen
                seen |= fresh
                waiting += [evaluators[name] for name in fresh if name in evaluators]
                continue
            found.update(_names(operation, arguments))
            waiting += arguments[:1] + arguments[2:] if operation in _LOOPS else arguments
    return frozenset(found)


def _names(operation: str, arguments: list[Any]) -> Iterator[str]:
    match operation:
        case "var":
            yield from _reached(arguments[0] if arguments else "")
        case "missing":
            for name in arguments:
                yield from _reached_in(name)
        case "missing_some":
            for name in arguments[1:2]:
                yield from _reached_in(name)


def _reached_in(names: Any) -> Iterator[str]:
    for name in names if isinstance(names, list) else [names]:
        yield from _reached(name)


def _reached(name: Any) -> Iterator[str]:
    if name is None or isinstance(name, dict | list) or name == "":
        yield from GROUPS  # worked out while it runs, or everything there is
    elif isinstance(name, str):
        group, _, rest = name.partition(".")
        if group in GROUPS:
            yield f"{group}.{rest.partition('.')[0]}" if rest else group
