"""Refused input → its shape: which rule, which declared fields, of what type, about how long. Never a value.

Equal shapes are counted, not listed, and gathered in memory until the step writes them, so that a flood of bad
input costs neither rows nor writes. Lengths are rounded up to a power of two: fewer shapes, and less to guess from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from discreet_agent.event import EventLine, EventRefusal, Quarantined, Shape
from discreet_contract.durations import END

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.event import Received, Refused
    from discreet_contract.policy.model import Signal

MAX_PENDING = 200  # shapes in memory; input of further ones is only counted
MAX_FIELDS = 32  # named in one shape
_VERSION = re.compile(r"[1-9][0-9]{0,3}-[0-9]{1,4}-[0-9]{1,4}" + END)


def shape_of(item: Received, refused: Refused, sender: str, signals: Mapping[str, Signal]) -> Shape:
    """The form of one refused item. A sender's own names of signals, versions and fields are not repeated."""
    # How long to wait is another text each time, and the reason says it all.
    detail = "" if refused.reason is EventRefusal.RATE_LIMITED else refused.detail
    if not isinstance(item, EventLine):
        return Shape(sender, "", "", refused.reason.value, detail, "", _rounded_up(refused.size_bytes))
    signal = signals.get(item.signal)
    return Shape(
        sender,
        "" if signal is None else item.signal,
        item.version if _VERSION.match(item.version) else "",
        refused.reason.value,
        detail,
        _form(item, signal),
        0,
    )


def _form(line: EventLine, signal: Signal | None) -> str:
    """Declared fields with types and lengths, how many others there were, and whether there was an id."""
    declared = [name for name in signal.fields if name in line.fields] if signal is not None else []
    parts = [f"{name} {_kind(line.fields[name])}" for name in declared[:MAX_FIELDS]]
    if len(declared) > MAX_FIELDS:
        parts.append(f"≤ {_rounded_up(len(declared) - MAX_FIELDS)} more")
    if len(declared) < len(line.fields):
        parts.append(f"≤ {_rounded_up(len(line.fields) - len(declared))} undeclared")
    parts += [name for name, said in (("with id", line.id), ("with retracts", line.retracts)) if said is not None]
    return ", ".join(parts)


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true/false"
        case int() | float():
            return "number"
        case str():
            return f"text ≤ {_rounded_up(len(value))}"
    return "of no known type"


def _rounded_up(number: int) -> int:
    return 1 << (number - 1).bit_length() if number > 0 else 0


class Quarantine:
    """Shapes since they were last written down."""

    def __init__(self) -> None:
        self._pending: dict[Shape, Quarantined] = {}
        self.uncounted = 0  # items whose shape was one too many

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._pending)

    @property
    def pending(self) -> list[Quarantined]:
        """What waits to be written."""
        return list(self._pending.values())

    def add(self, shape: Shape, now_ms: int) -> None:
        """Count one refused item."""
        before = self._pending.get(shape)
        if before is not None:
            self._pending[shape] = Quarantined(shape, before.count + 1, before.first_ms, now_ms)
        elif len(self._pending) < MAX_PENDING:
            self._pending[shape] = Quarantined(shape, 1, now_ms, now_ms)
        else:
            self.uncounted += 1

    def clear(self) -> None:
        """What waited is on disk, or must not be."""
        self._pending.clear()
        self.uncounted = 0
