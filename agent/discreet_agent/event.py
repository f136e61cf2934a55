"""What comes in, before and after it was checked, and why it may be refused.

Nothing here prints a value: `repr` shows names and counts only (P1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import msgspec

from discreet_contract.condition import FieldValue

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ID_BYTES = 64


class EventRefusal(StrEnum):
    """Closed list of reasons for which a device refuses input."""

    MALFORMED = "MALFORMED"
    TOO_LARGE = "TOO_LARGE"
    BATCH_TOO_LONG = "BATCH_TOO_LONG"
    CONSENT_OFF = "CONSENT_OFF"
    SENDER_UNKNOWN = "SENDER_UNKNOWN"
    SIGNAL_NOT_ALLOWED = "SIGNAL_NOT_ALLOWED"
    UNKNOWN_SIGNAL = "UNKNOWN_SIGNAL"
    SILENCED = "SILENCED"
    UNKNOWN_VERSION = "UNKNOWN_VERSION"
    BAD_TIME = "BAD_TIME"
    TIME_IN_FUTURE = "TIME_IN_FUTURE"
    TOO_OLD = "TOO_OLD"
    BAD_ID = "BAD_ID"
    MISSING_FIELD = "MISSING_FIELD"
    WRONG_TYPE = "WRONG_TYPE"
    OUT_OF_BOUNDS = "OUT_OF_BOUNDS"
    UNKNOWN_CATEGORY = "UNKNOWN_CATEGORY"
    UNDECLARED_FIELD = "UNDECLARED_FIELD"
    RATE_LIMITED = "RATE_LIMITED"
    DUPLICATE = "DUPLICATE"
    RETRACTED = "RETRACTED"
    RETRACT_FORGOTTEN = "RETRACT_FORGOTTEN"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal as a value. `detail` names the rule that was broken, never what broke it."""

    reason: EventRefusal
    detail: str
    size_bytes: int = 0  # of what could not be read at all; 0 for anything else


class Shape(NamedTuple):
    """What may be kept of refused input: its form, never a value. See `quarantine.shape_of`."""

    sender: str
    signal: str  # "" where the policy declares no such signal
    version: str  # "" where it is not of a version's form
    reason: str
    detail: str
    fields: str
    size_bytes: int  # of what could not be read: at most so many; else 0


@dataclass(frozen=True, slots=True)
class Quarantined:
    """How often input of one shape was refused, and when."""

    shape: Shape
    count: int
    first_ms: int
    last_ms: int


class EventLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One event as a sender writes it; well-formed JSON, nothing else is known of it."""

    signal: Annotated[str, msgspec.Meta(max_length=64)]
    version: Annotated[str, msgspec.Meta(max_length=16)]
    time: str | int
    fields: Annotated[dict[str, FieldValue], msgspec.Meta(max_length=256)] = {}
    id: Annotated[str, msgspec.Meta(max_length=MAX_ID_BYTES)] | None = None
    retracts: Annotated[str, msgspec.Meta(max_length=MAX_ID_BYTES)] | None = None

    def __repr__(self) -> str:
        return f"<EventLine with {len(self.fields)} fields>"


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One event that its signal's declaration accepts: only declared fields, all within bounds.

    `version` is the one its sender made it for; the fields have the form of the signal's present one.
    """

    signal: str
    version: str
    time_ms: int
    fields: dict[str, FieldValue]
    id: str | None = None
    retracts: str | None = None  # id of the event that this one takes back; such an event says nothing else
    sender: str = ""  # as in `Batch`
    late: tuple[str, ...] = ()  # metrics that do not count it: their window was closed when it came

    def __repr__(self) -> str:
        return f"<Event {self.signal} with {len(self.fields)} fields>"


@dataclass(frozen=True, slots=True, repr=False)
class BoundedValue:
    """A device's one integer for one metric and window, within the metric's range. Still raw."""

    value: int

    def __repr__(self) -> str:
        return "<BoundedValue>"


@dataclass(frozen=True, slots=True)
class NoisedValue:
    """What OpenDP made of a `BoundedValue`: may leave the device, in the transaction that charged it."""

    payload: bytes


Received: TypeAlias = EventLine | Refused


@dataclass(frozen=True, slots=True)
class Batch:
    """What one sender sent at once. `sender` is its name in the policy; "" where the policy names no senders."""

    sender: str
    items: Sequence[Received]
