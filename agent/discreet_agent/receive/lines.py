"""One line of JSON → event lines, or a query.

A batch's events are decoded one by one, so that a bad event refuses itself only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec

from discreet_agent.event import EventLine, EventRefusal, Received, Refused

MAX_LINE_BYTES = 1_048_576
MAX_BATCH_EVENTS = 10_000


class _Line(msgspec.Struct, frozen=True):
    """Just enough of a line to tell what it is."""

    events: list[msgspec.Raw] | None = None
    query: Annotated[str, msgspec.Meta(max_length=32)] | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A question about the agent itself: status, sent, ledger."""

    name: str


_line_decoder = msgspec.json.Decoder(_Line)
_event_decoder = msgspec.json.Decoder(EventLine)


def decode_line(line: bytes) -> list[Received] | Query:
    """What a sender's line holds. Never raises: what cannot be read is a refusal."""
    if len(line) > MAX_LINE_BYTES:
        return [too_large(len(line))]
    try:
        head = _line_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        form = 'a line is a JSON object: an event, {"events": […]} or {"query": "…"}'
        return [Refused(EventRefusal.MALFORMED, form, len(line))]
    if head.query is not None:
        return Query(head.query)
    if head.events is None:
        return [_decode_event(line)]
    if len(head.events) > MAX_BATCH_EVENTS:
        return [Refused(EventRefusal.BATCH_TOO_LONG, f"a batch has at most {MAX_BATCH_EVENTS} events", len(line))]
    return [_decode_event(raw) for raw in head.events]


def too_large(size_bytes: int = MAX_LINE_BYTES + 1) -> Refused:
    """The refusal of a line that was not even read to its end."""
    return Refused(EventRefusal.TOO_LARGE, f"a line has at most {MAX_LINE_BYTES} bytes", size_bytes)


def _decode_event(raw: bytes | msgspec.Raw) -> Received:
    try:
        return _event_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # msgspec's message may quote a value; the rule is enough to mend the sender.
        form = "an event has signal, version, time and fields of numbers, text or true/false"
        return Refused(EventRefusal.MALFORMED, form, len(raw))
