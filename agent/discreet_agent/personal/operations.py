"""JSONLogic's operations on values that are worked out already, and flagd's two on texts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from discreet_agent.personal.coerce import (
    LogicError,
    Number,
    at_least,
    at_most,
    bounded,
    is_true,
    joined,
    less,
    loosely_equal,
    more,
    number,
    strictly_equal,
    text,
)
from discreet_agent.personal.values import Names
from discreet_agent.personal.versions import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONGEST_TEXT = 65_536  # characters that `cat` may make: a rule that doubles its text ends soon


def _between(compare: Callable[[Any, Any], bool]) -> Callable[..., bool]:
    def operation(one: Any = None, other: Any = None, *more_of_them: Any) -> bool:
        holds = compare(one, other)
        return holds and compare(other, more_of_them[0]) if more_of_them else holds

    return operation


def _contains(needle: Any = None, within: Any = None, *_: Any) -> bool:
    if isinstance(within, str):
        return text(needle) in within
    if isinstance(within, Names):
        return isinstance(needle, str) and within.get(needle) is True
    return isinstance(within, list) and any(strictly_equal(needle, item) for item in within)


def _cat(*given: Any) -> str:
    written = "".join(map(joined, given))
    if len(written) > LONGEST_TEXT:
        raise LogicError(f"a text of more than {LONGEST_TEXT} characters")
    return written


def _substr(given: Any = None, start: Any = 0, *length: Any) -> str:
    source = text(given)
    begin = _whole(start)
    source = source[max(0, len(source) + begin) if begin < 0 else begin :]
    if not length or length[0] is None:
        return source
    size = _whole(length[0])
    return source[: max(0, len(source) + size) if size < 0 else size]


def _whole(value: Any) -> int:
    """A number towards zero, for places in texts."""
    given = number(value)
    if math.isnan(given):
        return 0
    return int(max(-(2.0**53), min(2.0**53, given)))


def _merge(*given: Any) -> list[Any]:
    return [item for part in given for item in (part if isinstance(part, list) else [part])]


def _sum(*given: Any) -> Number:
    total: Number = 0
    for part in given:
        total = bounded(total + number(part))
    return total


def _product(*given: Any) -> Number:
    product: Number = 1
    for part in given:
        product = bounded(product * number(part))
    return product


def _difference(one: Any = None, *other: Any) -> Number:
    return bounded(number(one) - number(other[0])) if other else -number(one)


def _quotient(one: Any = None, other: Any = None, *_: Any) -> Number:
    above, below = number(one), number(other)
    if below:
        return above / below
    if not above or math.isnan(above):
        return math.nan
    return math.copysign(math.inf, above) * math.copysign(1, below)


def _remainder(one: Any = None, other: Any = None, *_: Any) -> Number:
    """With the sign of the first, as JavaScript has it."""
    of, by = number(one), number(other)
    if not by or math.isinf(of) or math.isnan(of) or math.isnan(by):
        return math.nan
    if isinstance(of, int) and isinstance(by, int):
        return abs(of) % abs(by) * (1 if of >= 0 else -1)
    return math.fmod(of, by)


def _extreme(pick: Callable[[Iterable[Number]], Number]) -> Callable[..., Number]:
    def operation(*given: Any) -> Number:
        numbers = [number(part) for part in given]
        return pick(numbers) if numbers and not any(map(math.isnan, numbers)) else math.nan

    return operation


def _on_texts(compare: Callable[[str, str], bool]) -> Callable[..., bool | None]:
    def operation(*given: Any) -> bool | None:
        if len(given) != 2 or not isinstance(given[0], str) or not isinstance(given[1], str):
            return None
        return compare(given[0], given[1])

    return operation


ORDERS: dict[str, Callable[[Any, Any], bool]] = {"<": less, "<=": at_most, ">": more, ">=": at_least}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "==": lambda one=None, other=None, *_: loosely_equal(one, other),
    "!=": lambda one=None, other=None, *_: not loosely_equal(one, other),
    "===": lambda one=None, other=None, *_: strictly_equal(one, other),
    "!==": lambda one=None, other=None, *_: not strictly_equal(one, other),
    **{name: _between(compare) for name, compare in ORDERS.items()},
    "!": lambda one=None, *_: not is_true(one),
    "!!": lambda one=None, *_: is_true(one),
    "+": _sum,
    "*": _product,
    "-": _difference,
    "/": _quotient,
    "%": _remainder,
    "min": _extreme(min),
    "max": _extreme(max),
    "in": _contains,
    "cat": _cat,
    "substr": _substr,
    "merge": _merge,
    "starts_with": _on_texts(str.startswith),
    "ends_with": _on_texts(str.endswith),
    "sem_ver": lambda *given: matches(given),
}
# What these make, or look through, may be as long as the context: a loop pays for it.
LENGTHY = frozenset({"in", "cat", "substr", "merge"})
