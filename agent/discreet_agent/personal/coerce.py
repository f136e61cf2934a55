"""What JSONLogic takes a value for: true or false, a number, a text, equal, less. As in JavaScript, its reference.

Nothing here recurses without a bound, whatever an app puts into its context.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Number: TypeAlias = float | int

MOST_PARTS = 200  # of a list that becomes text: nobody compares more, and a rule can make lists of lists of lists
_LONGEST_NUMBER = 100  # characters; a longer text is no number to us
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_EXACT = 2**63  # beyond it integers become floats, so that no product of them can grow without end
_NUMBERS = frozenset({int, float})


class LogicError(Exception):
    """A rule that cannot be answered: it is wrong, or asks too much work. Its text names a rule, never a value."""


def is_true(value: Any) -> bool:
    """JSONLogic's truth: JavaScript's, but an empty list is false."""
    if value is True or value is False:  # nearly always, and asking for Mapping costs
        return bool(value)
    if isinstance(value, float):
        return value != 0 and not math.isnan(value)
    return bool(value) or isinstance(value, Mapping)


def number(value: Any) -> Number:
    """JavaScript's `Number(value)`; NaN for what is none."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return bounded(value)
    if value is None:
        return 0
    return _number_of_text(text(value))


def bounded(value: Number) -> Number:
    """A number that further sums and products of it keep small: a float from 2⁶³ on."""
    if isinstance(value, float) or -_EXACT < value < _EXACT:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def text(value: Any) -> str:
    """JavaScript's `String(value)`. Raises LogicError for lists of too many parts."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, list):
        return ",".join(_texts(value))
    return _scalar_text(value)


def joined(value: Any) -> str:
    """The same within `cat` and within lists, where nothing at all stands for null."""
    return "" if value is None else text(value)


def primitive(value: Any) -> Any:
    """What a list or a mapping is compared as."""
    return text(value) if isinstance(value, list | Mapping) else value


def loosely_equal(one: Any, other: Any) -> bool:
    """JavaScript's `==`."""
    if one is None or other is None:
        return one is other
    containers = isinstance(one, list | Mapping), isinstance(other, list | Mapping)
    if all(containers):
        return one is other
    one, other = primitive(one), primitive(other)
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    return number(one) == number(other)


def strictly_equal(one: Any, other: Any) -> bool:
    """JavaScript's `===`."""
    kind, other_kind = type(one), type(other)
    if kind is other_kind or (kind in _NUMBERS and other_kind in _NUMBERS):
        return one is other if isinstance(one, list | Mapping) else bool(one == other)
    return False


def ordered(relation: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """One of JavaScript's `<`, `<=`, `>`, `>=`: texts by their characters, all else as numbers."""

    def compare(one: Any, other: Any) -> bool:
        if type(one) in _NUMBERS and type(other) in _NUMBERS:
            return relation(one, other)
        one, other = primitive(one), primitive(other)
        if isinstance(one, str) and isinstance(other, str):
            return relation(one, other)
        return relation(number(one), number(other))

    return compare


less = ordered(operator.lt)
at_most = ordered(operator.le)
more = ordered(operator.gt)
at_least = ordered(operator.ge)


def _number_of_text(given: str) -> Number:
    stripped = given.strip() if len(given) <= _LONGEST_NUMBER else "too long"
    if not stripped:
        return 0
    if _DECIMAL.fullmatch(stripped):
        return float(stripped)
    return {"Infinity": math.inf, "+Infinity": math.inf, "-Infinity": -math.inf}.get(stripped, math.nan)


def _scalar_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(bounded(value))
    return "[object Object]"  # a mapping, and whatever else an app might be able to send one day


def _texts(given: list[Any]) -> list[str]:
    """The texts of a list's parts, lists within it flattened, without recursion."""
    found: list[str] = []
    waiting = given[::-1] if len(given) <= MOST_PARTS else [None] * (MOST_PARTS + 1)
    seen = 0
    while waiting:
        part = waiting.pop()
        seen += 1
        if seen > MOST_PARTS:
            raise LogicError(f"a list of more than {MOST_PARTS} parts is no text")
        if not isinstance(part, list):
            found.append("" if part is None else part if isinstance(part, str) else _scalar_text(part))
        elif not part:
            found.append("")
        else:
            waiting += part[: MOST_PARTS + 1][::-1]
    return found


def _number_text(value: Number) -> str:
    """JavaScript's own digits: the shortest that read back, an exponent from 10²¹ on and below 10⁻⁶."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    sign = "-" if value < 0 else ""
    if not exponent:
        return sign + mantissa.removesuffix(".0")
    digits = mantissa.removesuffix(".0").replace(".", "")
    power = int(exponent)
    if 0 <= power < 21:
        return sign + digits.ljust(power + 1, "0")
    if -7 < power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return f"{sign}{mantissa.removesuffix('.0')}e{power:+d}"
