"""Event line → event, or a refusal that names the rule. Only declared fields survive (minimisation).

A policy is compiled once into closures and finished refusals, so that an event costs a few microseconds
and no refusal is ever made of what a sender sent. An event of an older schema version that the policy
still accepts is lifted to the present one by declared defaults, and is held to the present bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from discreet_agent.event import MAX_ID_BYTES, Event, EventRefusal, Refused
from discreet_contract.condition import FieldValue
from discreet_contract.durations import grain, seconds
from discreet_contract.policy.model import BooleanField, CategoryField, NumberField, TextField

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from discreet_agent.event import EventLine
    from discreet_contract.policy.model import Field, Policy, Signal

FUTURE_SKEW_MS = 300_000  # how far a sender's clock may be ahead of ours
# Of all names and texts in an event's fields: as much as declared ones can hold, so only others exceed it.
MAX_EVENT_CHARACTERS = 65_536
_NAMES_SHOWN = 12  # of declared fields, in a refusal
_EXACT = 2**53  # integers beyond what a float tells apart are kept as floats: they must fit into a row
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Taker: TypeAlias = Callable[[FieldValue], FieldValue | Refused]  # a value → what is kept of it, or its refusal

_UNKNOWN_SIGNAL = Refused(EventRefusal.UNKNOWN_SIGNAL, "the policy declares no such signal")
_SILENCED = Refused(EventRefusal.SILENCED, "stopped by the policy's kill switch, or by this device's owner")
_BAD_TIME = Refused(EventRefusal.BAD_TIME, "time is RFC 3339 with an offset, or integer milliseconds since 1970")
_IN_FUTURE = Refused(EventRefusal.TIME_IN_FUTURE, f"time is more than {FUTURE_SKEW_MS // 1000} s ahead of this device")
_BAD_ID = Refused(EventRefusal.BAD_ID, f"id is a text of 1 to {MAX_ID_BYTES} bytes")
_BAD_RETRACTS = Refused(
    EventRefusal.BAD_ID, f"retracts is the id of an earlier event, a text of 1 to {MAX_ID_BYTES} bytes"
)
_TOO_LARGE = Refused(
    EventRefusal.TOO_LARGE, f"an event's fields have at most {MAX_EVENT_CHARACTERS} characters, names included"
)


@dataclass(frozen=True, slots=True)
class _Rules:
    """One signal's declaration, as one of its versions is taken."""

    kept_ms: int  # what is older is refused
    too_old: Refused
    fields: tuple[tuple[str, Taker, FieldValue | Refused | None], ...]  # the last: what stands for a missing value
    undeclared: Refused | None  # None where undeclared fields are dropped
    note: str  # added to a refusal: which rules an older version is held to


class Validator:
    """Checks events against the signals of one policy; those in `silenced` are declared, and not taken."""

    def __init__(self, policy: Policy, silenced: Collection[str] = ()) -> None:
        self._silenced = frozenset(silenced) & policy.signals.keys()
        refuses = policy.undeclared == "refuse"
        self._rules: dict[str, dict[str, _Rules]] = {}
        self._unknown_version: dict[str, Refused] = {}
        for name, signal in policy.signals.items():
            if name in self._silenced:
                continue
            versions = [signal.version, *signal.accepts]
            takers = {field: _taker(field, declared) for field, declared in signal.fields.items()}
            self._rules[name] = {
                version: _compiled(signal, takers, version, refuses_undeclared=refuses) for version in versions[::-1]
            }
            self._unknown_version[name] = Refused(
                EventRefusal.UNKNOWN_VERSION, f"{name} is taken at version {_listed(versions)}"
            )
        self._dropped: dict[str, int] = {}

    def check(self, line: EventLine, now_ms: int, sender: str = "") -> Event | Refused:
        """One event as it may be kept. One with `retracts` is a correction: its fields are ignored."""
        versions = self._rules.get(line.signal)
        if versions is None:
            return _SILENCED if line.signal in self._silenced else _UNKNOWN_SIGNAL
        rules = versions.get(line.version)
        if rules is None:
            return self._unknown_version[line.signal]
        time_ms = parse_time(line.time)
        if time_ms < 0:
            return _BAD_TIME
        if time_ms > now_ms + FUTURE_SKEW_MS:
            return _IN_FUTURE
        if line.id is not None and not _is_id(line.id):
            return _BAD_ID
        if line.retracts is not None:
            if not _is_id(line.retracts):
                return _BAD_RETRACTS
            return Event(line.signal, line.version, time_ms, {}, line.id, line.retracts, sender)
        if time_ms < now_ms - rules.kept_ms:
            return rules.too_old
        kept = self._take_fields(line, rules)
        if isinstance(kept, Refused):
            return kept
        return Event(line.signal, line.version, time_ms, kept, line.id, None, sender)

    def take_dropped(self) -> dict[str, int]:
        """How many undeclared fields were left out of events since this was last asked, by signal."""
        dropped, self._dropped = self._dropped, {}
        return dropped

    def _take_fields(self, line: EventLine, rules: _Rules) -> dict[str, FieldValue] | Refused:
        given = line.fields
        kept: dict[str, FieldValue] = {}
        found = 0
        for name, take, absent in rules.fields:
            value = given.get(name)
            taken = absent if value is None else take(value)
            if taken is None:
                continue
            if isinstance(taken, Refused):
                return _noted(taken, rules.note)
            kept[name] = taken
            if value is not None:
                found += 1
        if found != len(given):
            refused = self._leave_out(line, rules, len(given) - found)
            if refused is not None:
                return refused
        return kept

    def _leave_out(self, line: EventLine, rules: _Rules, fields: int) -> Refused | None:
        """Count undeclared fields by signal, never by a name that a sender gave; or refuse the event."""
        if rules.undeclared is not None:
            return rules.undeclared
        if _characters(line.fields) > MAX_EVENT_CHARACTERS:
            return _TOO_LARGE
        self._dropped[line.signal] = self._dropped.get(line.signal, 0) + fields
        return None


def parse_time(time: str | int) -> int:
    """Milliseconds since 1970, or −1 for what is no time."""
    if isinstance(time, int):
        return time if 0 <= time < _EXACT and type(time) is int else -1
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return -1
    if parsed.tzinfo is None:
        return -1
    since = parsed - _EPOCH
    return max((since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000, -1)


# --- compiling a policy ------------------------------------------------------------------------


def _compiled(signal: Signal, takers: dict[str, Taker], version: str, *, refuses_undeclared: bool) -> _Rules:
    """How events of one version are taken.

    A sender of the present version knows every field: a required one that is missing is refused, whether or not it
    has a default, and an optional one stays away. Only an older version is given defaults.
    """
    is_older = version != signal.version
    kept_seconds = seconds(signal.retention)
    fields = tuple(
        (name, takers[name], _stand_in(name, field, is_older=is_older)) for name, field in signal.fields.items()
    )
    declares = f"it declares {_listed(list(signal.fields))}" if signal.fields else "it declares none"
    undeclared = Refused(EventRefusal.UNDECLARED_FIELD, f"the signal does not declare every field sent; {declares}")
    return _Rules(
        kept_ms=(kept_seconds - grain(kept_seconds)) * 1000,
        too_old=Refused(
            EventRefusal.TOO_OLD, f"time lies before what the signal's retention of {signal.retention} keeps"
        ),
        fields=fields,
        undeclared=undeclared if refuses_undeclared else None,
        note=f" (events of {version} are held to the rules of {signal.version})" if is_older else "",
    )


def _stand_in(name: str, field: Field, *, is_older: bool) -> FieldValue | Refused | None:
    """What becomes of an event without this field: a value in its place, a refusal, or nothing."""
    if is_older and field.default is not None:
        return field.default
    return Refused(EventRefusal.MISSING_FIELD, f"{name} is required") if field.required else None


def _taker(name: str, field: Field) -> Taker:
    match field:
        case NumberField():
            return _number(name, field)
        case CategoryField():
            return _category(name, field)
        case TextField():
            return _text(name, field)
        case BooleanField():
            return _boolean(name)


def _number(name: str, field: NumberField) -> Taker:
    low, high = field.min, field.max
    is_wide = max(abs(low), abs(high)) > _EXACT
    wrong = Refused(EventRefusal.WRONG_TYPE, f"{name} is a number")
    below = Refused(EventRefusal.OUT_OF_BOUNDS, f"{name} < {_written(low)}")
    above = Refused(EventRefusal.OUT_OF_BOUNDS, f"{name} > {_written(high)}")

    def take(value: FieldValue) -> FieldValue | Refused:
        if type(value) is not float and type(value) is not int:
            return wrong
        if not value >= low:  # also refuses NaN
            return below
        if value > high:
            return above
        return float(value) if is_wide and abs(value) > _EXACT else value

    return take


def _category(name: str, field: CategoryField) -> Taker:
    values = frozenset(field.values)
    wrong = Refused(EventRefusal.WRONG_TYPE, f"{name} is a category, written as text")
    unknown = Refused(EventRefusal.UNKNOWN_CATEGORY, f"{name} is none of the declared values")

    def take(value: FieldValue) -> FieldValue | Refused:
        if type(value) is not str:
            return wrong
        return value if value in values else unknown

    return take


def _text(name: str, field: TextField) -> Taker:
    longest = field.max_length
    wrong = Refused(EventRefusal.WRONG_TYPE, f"{name} is text")
    too_long = Refused(EventRefusal.OUT_OF_BOUNDS, f"{name} has 1 to {longest} characters")

    def take(value: FieldValue) -> FieldValue | Refused:
        if type(value) is not str:
            return wrong
        return value if 1 <= len(value) <= longest else too_long

    return take


def _boolean(name: str) -> Taker:
    wrong = Refused(EventRefusal.WRONG_TYPE, f"{name} is true or false")

    def take(value: FieldValue) -> FieldValue | Refused:
        return value if type(value) is bool else wrong

    return take


def _written(bound: float) -> str:
    return str(int(bound) if bound.is_integer() and abs(bound) <= _EXACT else bound)


def _is_id(text: str) -> bool:
    return 0 < len(text) <= MAX_ID_BYTES and (text.isascii() or len(text.encode()) <= MAX_ID_BYTES)


def _characters(fields: Mapping[str, FieldValue]) -> int:
    characters = 0
    for name, value in fields.items():
        characters += len(name) + (len(value) if isinstance(value, str) else 0)
    return characters


def _noted(refused: Refused, note: str) -> Refused:
    return Refused(refused.reason, refused.detail + note) if note else refused


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
