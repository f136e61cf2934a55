"""Bytes → event lines: what cannot be read refuses itself and nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discreet_agent.event import EventLine, EventRefusal, Refused
from discreet_agent.receive.lines import MAX_BATCH_EVENTS, MAX_LINE_BYTES, Query, decode_line

EVENT = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 1}}


def reasons(line: bytes) -> list[EventRefusal | None]:
    content = decode_line(line)
    assert not isinstance(content, Query)
    return [item.reason if isinstance(item, Refused) else None for item in content]


def test_a_single_event_and_a_batch_are_both_lines():
    """One event may stand alone or in a batch."""
    assert reasons(json.dumps(EVENT).encode()) == [None]
    assert reasons(json.dumps({"events": [EVENT, EVENT]}).encode()) == [None, None]


def test_a_bad_event_in_a_batch_refuses_itself_only():
    """Its neighbours are decoded."""
    batch = {"events": [EVENT, {"signal": 7}, "text", EVENT]}
    assert reasons(json.dumps(batch).encode()) == [None, EventRefusal.MALFORMED, EventRefusal.MALFORMED, None]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[1]",
        b"7",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"events": 3}',
        b'{"signal": "a"}',
        b'{"events": [' + b"[" * 5000,
    ],
)
def test_broken_json_is_malformed(line):
    """It never raises."""
    assert reasons(line) == [EventRefusal.MALFORMED]


@pytest.mark.parametrize(
    "extra", [{"colour": "red"}, {"fields": {"seconds": None}}, {"fields": {"a": [1]}}, {"id": "x" * 65}, {"time": 1.5}]
)
def test_an_event_of_another_form_is_malformed(extra):
    """Unknown keys, nested values, long ids and fractional times are not events."""
    assert reasons(json.dumps(EVENT | extra).encode()) == [EventRefusal.MALFORMED]


def test_oversized_lines_and_batches_are_refused_whole():
    """Limits hold before anything is decoded."""
    assert reasons(b" " * (MAX_LINE_BYTES + 1)) == [EventRefusal.TOO_LARGE]
    batch = b'{"events":[' + b",".join([b"1"] * (MAX_BATCH_EVENTS + 1)) + b"]}"
    assert reasons(batch) == [EventRefusal.BATCH_TOO_LONG]


def test_a_query_is_not_an_event():
    """Queries go by name."""
    assert decode_line(b'{"query": "status"}') == Query("status")


def test_printing_an_event_shows_no_value():
    """P1: a traceback or a log that prints an event gives nothing away."""
    line = EventLine(signal="s.t", version="1-0-0", time=1, fields={"secret": "planted-4711"}, id="planted-0815")
    assert "planted" not in repr(line)
    assert "planted" not in f"{[line]}"


@given(st.binary(max_size=300))
def test_no_bytes_raise(line):
    """Whatever arrives, the answer is a list or a query."""
    assert decode_line(line) is not None
