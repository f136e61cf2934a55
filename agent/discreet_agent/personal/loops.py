"""`map`, `filter`, `reduce`, `all`, `none`, `some`: a rule for each item of a list. Each run is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_agent.personal.coerce import is_true

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_agent.personal.frame import Frame, Step


def _items(source: Step, cost: int) -> Callable[[Any, Frame], list[Any] | None]:
    def step(data: Any, frame: Frame) -> list[Any] | None:
        items = source(data, frame)
        if not isinstance(items, list):
            return None
        frame.spend(len(items) * cost)
        return items

    return step


def mapped(source: Step, rule: Step, cost: int) -> Step:
    """What the rule gives for each."""
    read = _items(source, cost)
    return lambda data, frame: [rule(item, frame) for item in read(data, frame) or ()]


def filtered(source: Step, rule: Step, cost: int) -> Step:
    """Those for which it holds."""
    read = _items(source, cost)
    return lambda data, frame: [item for item in read(data, frame) or () if is_true(rule(item, frame))]


def every(source: Step, rule: Step, cost: int) -> Step:
    """Whether it holds for all; for none at all it does not, as JSONLogic has it."""
    read = _items(source, cost)

    def step(data: Any, frame: Frame) -> bool:
        items = read(data, frame)
        return bool(items) and all(is_true(rule(item, frame)) for item in items or ())

    return step


def some(source: Step, rule: Step, cost: int) -> Step:
    """Whether it holds for any."""
    read = _items(source, cost)
    return lambda data, frame: any(is_true(rule(item, frame)) for item in read(data, frame) or ())


def none(source: Step, rule: Step, cost: int) -> Step:
    """Whether it holds for no one."""
    any_of_them = some(source, rule, cost)
    return lambda data, frame: not any_of_them(data, frame)


def reduced(source: Step, rule: Step, first: Step, cost: int) -> Step:
    """What is left after all, from `first` on; the rule sees `current` and `accumulator`."""
    read = _items(source, cost)

    def step(data: Any, frame: Frame) -> Any:
        accumulator = first(data, frame)
        for item in read(data, frame) or ():
            accumulator = rule({"current": item, "accumulator": accumulator}, frame)
        return accumulator

    return step
