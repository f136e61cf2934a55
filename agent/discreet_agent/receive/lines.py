"""One line of JSON → event lines, a query, or a word about the connection.

A whole line is decoded in one call. Only where that fails are its events decoded one by one, so that a bad event
refuses itself only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec

from discreet_agent.event import EventLine, EventRefusal, Refused
from discreet_agent.receive.asked import BROKEN, MAX_CONTEXT_BYTES, MAX_EXPOSURES, ReportedExposure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Received

MAX_LINE_BYTES = 1_048_576
MAX_BATCH_EVENTS = 10_000


class _Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Many events, all of them well-formed: what nearly every line is."""

    events: Annotated[list[EventLine], msgspec.Meta(max_length=MAX_BATCH_EVENTS)]


class _Line(msgspec.Struct, frozen=True):
    """Just enough of any other line to tell what it is."""

    events: list[msgspec.Raw] | None = None
    query: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    token: object = None
    answers: object = None


class _Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    answers: bool | None = None


class _Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: str
    flag: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    context: dict[str, Any] = {}
    exposures: Annotated[list[ReportedExposure], msgspec.Meta(max_length=MAX_EXPOSURES)] = []
    owner: bool = False
    variant: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A question about the agent itself (status, sent, ledger), or one that apps ask (features, evaluate, …)."""

    name: str
    flag: str | None = None
    context: dict[str, Any] = field(default_factory=dict, repr=False)
    exposures: Sequence[ReportedExposure] = field(default=(), repr=False)
    as_owner: bool = False  # who may: about everything, whatever its scopes as a sender are
    variant: str | None = None  # to pin a flag at
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What holds for a connection from this line on; None leaves it as it was. Of a token only the digest is kept."""

    token_sha256: str | None = field(default=None, repr=False)
    answers: bool | None = None


Said: TypeAlias = "Sequence[Received] | Query | Greeting"

_batch_decoder = msgspec.json.Decoder(_Batch)
_event_decoder = msgspec.json.Decoder(EventLine)
_line_decoder = msgspec.json.Decoder(_Line)
_greeting_decoder = msgspec.json.Decoder(_Greeting)
_question_decoder = msgspec.json.Decoder(_Question)

# msgspec's own messages may quote a value; the rule is enough to mend the sender.
_NO_LINE = 'a line is a JSON object: an event, {"events": […]} or {"query": "…"}'
_NO_EVENT = "an event has signal, version, time and fields of numbers, text or true/false"
_NO_QUERY = 'a query is {"query": "…"} with flag, context, exposures or owner, in the form that docs/serving.md shows'
_NO_GREETING = 'a greeting is {"token": "…"}, {"answers": false} or both, no more'


def decode_line(line: bytes | bytearray) -> Said:
    """What a sender's line holds. Never raises: what cannot be read is a refusal."""
    if len(line) > MAX_LINE_BYTES:
        return [too_large(len(line))]
    try:
        return _batch_decoder.decode(line).events if b'"events"' in line[:16] else [_event_decoder.decode(line)]
    except BROKEN:
        return _decode_carefully(line)


def too_large(size_bytes: int = MAX_LINE_BYTES + 1) -> Refused:
    """The refusal of a line that was not even read to its end."""
    return Refused(EventRefusal.TOO_LARGE, f"a line has at most {MAX_LINE_BYTES} bytes", size_bytes)


def _decode_carefully(line: bytes | bytearray) -> Said:
    try:
        head = _line_decoder.decode(line)
    except BROKEN:
        return [Refused(EventRefusal.MALFORMED, _NO_LINE, len(line))]
    if head.query is not None:
        return _decode_query(line)
    if head.token is not None or head.answers is not None:
        return _decode_greeting(line)
    if head.events is None:
        return [decode_event(line)]
    if len(head.events) > MAX_BATCH_EVENTS:
        return [Refused(EventRefusal.BATCH_TOO_LONG, f"a batch has at most {MAX_BATCH_EVENTS} events", len(line))]
    return [decode_event(raw) for raw in head.events]


def _decode_query(line: bytes | bytearray) -> Said:
    if len(line) > MAX_CONTEXT_BYTES:
        return [Refused(EventRefusal.TOO_LARGE, f"a query has at most {MAX_CONTEXT_BYTES} bytes", len(line))]
    try:
        asked = _question_decoder.decode(line)
    except BROKEN:
        return [Refused(EventRefusal.MALFORMED, _NO_QUERY, len(line))]
    said = (asked.query, asked.flag, asked.context, tuple(asked.exposures), asked.owner, asked.variant, asked.reason)
    return Query(*said)


def _decode_greeting(line: bytes | bytearray) -> Said:
    try:
        greeting = _greeting_decoder.decode(line)
    except BROKEN:
        return [Refused(EventRefusal.MALFORMED, _NO_GREETING, len(line))]
    digest = None if greeting.token is None else hashlib.sha256(greeting.token.encode()).hexdigest()
    return Greeting(digest, greeting.answers)


def decode_event(raw: bytes | bytearray | msgspec.Raw) -> Received:
    """One event, or why it is none."""
    try:
        return _event_decoder.decode(raw)
    except BROKEN:
        return Refused(EventRefusal.MALFORMED, _NO_EVENT, len(raw))
