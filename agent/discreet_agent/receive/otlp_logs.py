"""A log record → an event line: its event name is the signal, its attributes are the fields.

Attributes that speak of the event itself are taken out: `event.name`, `discreet.version`, `discreet.id` (or
`log.record.uid`) and `discreet.retracts`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from discreet_agent.event import MAX_ID_BYTES, EventLine, EventRefusal, Refused
from discreet_agent.receive.otlp_records import UNFIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.event import Received
    from discreet_agent.receive.otlp_records import LogRecord, Value
    from discreet_contract.policy.model import Signal

MAX_FIELDS = 256  # as in an event line of the socket

_SCHEMA_VERSION = re.compile(r"[1-9][0-9]{0,3}-[0-9]{1,4}-[0-9]{1,4}")
_UNFIT = Refused(
    EventRefusal.WRONG_TYPE, "an attribute is a list, a map or bytes; fields are numbers, text or true/false"
)
_NAMELESS = Refused(EventRefusal.MALFORMED, "a log record names its signal: as event name, or in `event.name`")
_TIMELESS = Refused(EventRefusal.BAD_TIME, "a log record has `time_unix_nano` or `observed_time_unix_nano`")
_TOO_MANY = Refused(EventRefusal.TOO_LARGE, f"a log record has at most {MAX_FIELDS} attributes")
_UNTEXTUAL = Refused(
    EventRefusal.MALFORMED, f"event name, version and id are short texts, ids of 1 to {MAX_ID_BYTES} bytes"
)


def event_of(record: LogRecord, signals: Mapping[str, Signal]) -> Received:
    """The event that a log record says, or why it is none. What its fields hold is for the validation to judge."""
    fields: dict[str, Value] = dict(record.attributes)
    named = fields.pop("event.name", "")
    version = fields.pop("discreet.version", "")
    uid = fields.pop("log.record.uid", None)
    event_id = fields.pop("discreet.id", uid)
    retracts = fields.pop("discreet.retracts", None)
    signal = record.event_name or named
    if signal == "":
        return _NAMELESS
    if not (_is_short(signal, 64) and _is_short(version, 16) and _is_id(event_id) and _is_id(retracts)):
        return _UNTEXTUAL
    if len(fields) > MAX_FIELDS:
        return _TOO_MANY
    kept = {name: value for name, value in fields.items() if value is not UNFIT}
    if len(kept) < len(fields):
        return _UNFIT
    time_ns = record.time_ns or record.observed_ns
    if time_ns <= 0:
        return _TIMELESS
    return EventLine(
        signal=str(signal),
        version=str(version) or _said_version(record) or _current_version(signals.get(str(signal))),
        time=time_ns // 1_000_000,
        fields=kept,
        id=None if event_id is None else str(event_id),
        retracts=None if retracts is None else str(retracts),
    )


def _said_version(record: LogRecord) -> str:
    """Version of scope or schema where it is a schema version, not the version of a library."""
    for said in (record.scope_version, record.schema_url.rpartition("/")[2]):
        if _SCHEMA_VERSION.fullmatch(said):
            return said
    return ""


def _current_version(signal: Signal | None) -> str:
    return "" if signal is None else signal.version


def _is_short(text: Value, length: int) -> bool:
    return isinstance(text, str) and len(text) <= length


def _is_id(event_id: Value | None) -> bool:
    if event_id is None:
        return True
    return isinstance(event_id, str) and 1 <= len(event_id.encode("utf-8", "surrogatepass")) <= MAX_ID_BYTES
