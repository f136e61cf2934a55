"""Event line → event, or a refusal that names the rule. Only declared fields survive (minimisation)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from discreet_agent.event import Event, EventLine, EventRefusal, Refused
from discreet_contract.durations import grain, seconds
from discreet_contract.policy.model import BooleanField, CategoryField, NumberField, TextField

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_contract.condition import FieldValue
    from discreet_contract.policy.model import Field, Signal

FUTURE_SKEW_MS = 300_000  # how far a sender's clock may be ahead of ours


def validate(line: EventLine, signals: Mapping[str, Signal], now_ms: int, sender: str = "") -> Event | Refused:
    """Check one event against its signal's declaration in the policy in force."""
    signal = signals.get(line.signal)
    if signal is None:
        return Refused(EventRefusal.UNKNOWN_SIGNAL, "the policy declares no such signal")
    if not signal.accepts_version(line.version):
        return Refused(EventRefusal.UNKNOWN_VERSION, f"{line.signal} is taken at version {signal.version}")
    time_ms = _parse_time(line.time)
    if time_ms is None:
        return Refused(EventRefusal.BAD_TIME, "time is RFC 3339 with an offset, or integer milliseconds since 1970")
    if time_ms > now_ms + FUTURE_SKEW_MS:
        return Refused(
            EventRefusal.TIME_IN_FUTURE, f"time is more than {FUTURE_SKEW_MS // 1000} s ahead of this device"
        )
    if line.retracts is not None:
        return Event(line.signal, line.version, time_ms, {}, line.id, line.retracts, sender)
    kept = seconds(signal.retention)
    if time_ms < now_ms - (kept - grain(kept)) * 1000:
        return Refused(
            EventRefusal.TOO_OLD, f"time lies before what the signal's retention of {signal.retention} keeps"
        )
    for name, field in signal.fields.items():
        refusal = _check_field(name, field, line.fields.get(name))
        if refusal is not None:
            return refusal
    fields = {name: _storable(line.fields[name]) for name in signal.fields if name in line.fields}
    return Event(line.signal, line.version, time_ms, fields, line.id, None, sender)


def _storable(value: FieldValue) -> FieldValue:
    """Integers beyond what a float tells apart are kept as floats: they must fit into a row."""
    is_large = isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53
    return float(value) if is_large else value


def _check_field(name: str, field: Field, value: FieldValue | None) -> Refused | None:
    if value is None:
        return Refused(EventRefusal.MISSING_FIELD, f"{name} is required") if field.required else None
    match field:
        case NumberField():
            return _check_number(name, field, value)
        case CategoryField():
            if not isinstance(value, str):
                return Refused(EventRefusal.WRONG_TYPE, f"{name} is a category, written as text")
            if value not in field.values:
                return Refused(EventRefusal.UNKNOWN_CATEGORY, f"{name} is none of the declared values")
        case TextField():
            return _check_text(name, field, value)
        case BooleanField():
            if not isinstance(value, bool):
                return Refused(EventRefusal.WRONG_TYPE, f"{name} is true or false")
    return None


def _check_text(name: str, field: TextField, value: FieldValue) -> Refused | None:
    if not isinstance(value, str):
        return Refused(EventRefusal.WRONG_TYPE, f"{name} is text")
    if not 1 <= len(value) <= field.max_length:
        return Refused(EventRefusal.OUT_OF_BOUNDS, f"{name} has 1 to {field.max_length} characters")
    return None


def _check_number(name: str, field: NumberField, value: FieldValue) -> Refused | None:
    if isinstance(value, bool | str):
        return Refused(EventRefusal.WRONG_TYPE, f"{name} is a number")
    if not value >= field.min:  # also refuses NaN
        return Refused(EventRefusal.OUT_OF_BOUNDS, f"{name} < {field.min:g}")
    if value > field.max:
        return Refused(EventRefusal.OUT_OF_BOUNDS, f"{name} > {field.max:g}")
    return None


def _parse_time(time: str | int) -> int | None:
    if isinstance(time, int):
        return time if 0 <= time < 2**53 else None
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return None
    if parsed.tzinfo is None:
        return None
    delta = parsed - datetime(1970, 1, 1, tzinfo=UTC)
    time_ms = delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000
    return time_ms if time_ms >= 0 else None
