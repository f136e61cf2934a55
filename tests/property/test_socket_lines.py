"""Whatever bytes come, in whatever pieces: no exception escapes, memory is bounded, the pieces make no difference."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from discreet_agent.event import Refused
from discreet_agent.receive.bounds import CHUNK_BYTES, SHARE_BYTES, UNANSWERED_LINES
from discreet_agent.receive.connection import Connection
from discreet_agent.receive.door import Door
from discreet_agent.receive.lines import MAX_LINE_BYTES, decode_line
from discreet_agent.receive.socket import SocketReceiver
from discreet_agent.senders import Peer, Senders
from receiving import Recorder

EVENT = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 1}}
SENDERS = Senders({}, 0)

KEYS = st.sampled_from(["signal", "version", "time", "fields", "id", "retracts", "events", "query", "token", "answers"])
well_formed = st.sampled_from(
    [EVENT, {"events": [EVENT, EVENT]}, {"events": []}, {"query": "status"}, {"token": "t"}, {"answers": True}]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | KEYS, inner, max_size=4),
    max_leaves=12,
)
lines = (
    st.binary(max_size=200)
    | well_formed.map(lambda value: json.dumps(value).encode())
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.integers(1, 3 * MAX_LINE_BYTES).map(lambda size: b"x" * size)
    | st.integers(1, 100_000).map(lambda depth: b"[" * depth)
)


class Wire(asyncio.Transport):
    """The writing half of a connection, in memory; says how much was written and whether reading is paused."""

    def __init__(self):
        super().__init__()
        self.written = bytearray()
        self.is_paused = self.is_closed = False

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.is_closed

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False

    def close(self):
        self.is_closed = True


async def feed(said, sizes):
    """Push bytes in pieces of these sizes through a connection, as the loop would; returns (recorder, answers)."""
    recorder, wire = Recorder(), Wire()
    receiver = SocketReceiver(Door("nowhere"), recorder, lambda query: {"you asked": query.name}, lambda: SENDERS)
    connection = Connection(receiver)
    connection._transport = wire
    connection.peer = Peer(0)
    receiver.connections.add(connection)
    position = turn = 0
    while position < len(said):
        piece = said[position : position + min(CHUNK_BYTES, sizes[turn % len(sizes)])]
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
        assert len(connection._buffer) <= MAX_LINE_BYTES + CHUNK_BYTES
        assert connection.unanswered <= UNANSWERED_LINES
        position += len(piece)
        turn += 1
        while wire.is_paused:  # the loop reads no more until the group is committed
            receiver.group.flush()
            await asyncio.sleep(0)
    connection.eof_received()
    while not wire.is_closed:
        receiver.group.flush()
        await asyncio.sleep(0)
    return recorder, bytes(wire.written)


@given(st.lists(lines, max_size=8), st.lists(st.integers(1, CHUNK_BYTES), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_any_bytes_in_any_pieces_are_answered_line_by_line(parts, sizes):
    """As many answers as lines, each of them JSON; the same as when everything came in chunks as large as can be."""
    said = b"\n".join(parts)
    if len(said) // min(sizes) > 20_000:
        sizes = [max(sizes[0], len(said) // 20_000)]

    recorder, answers = asyncio.run(feed(said, sizes))
    whole, answers_of_whole = asyncio.run(feed(said, [CHUNK_BYTES]))

    assert answers == answers_of_whole
    decoded = [json.loads(line) for line in answers.splitlines()]
    assert all("ok" in answer or "you asked" in answer for answer in decoded)
    told = [line for line in said.split(b"\n") if line.strip()]
    if any(getattr(decode_line(line), "answers", None) is False for line in told):
        assert len(decoded) < len(told)
    else:
        assert len(decoded) == len(told)
    assert len(recorder.events) == len(whole.events)
    assert all(not isinstance(item, Refused) or item.detail for group in recorder.groups for item in group)


def test_a_share_holds_more_than_a_chunk():
    """Else a connection could be told to wait for a place before it has read anything."""
    assert SHARE_BYTES > CHUNK_BYTES
