"""What senders can make the agent hold is bounded, over all connections, and one sender does not stop another."""

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import pytest

from discreet_agent.event import EventRefusal
from discreet_agent.receive import bounds
from discreet_agent.receive.bounds import BIG_LINES, MAX_CONNECTIONS, BigLines, HangUp
from discreet_agent.receive.connection import Connection
from discreet_agent.receive.door import Door
from discreet_agent.receive.lines import MAX_LINE_BYTES
from discreet_agent.receive.socket import SocketReceiver
from discreet_agent.senders import Senders
from receiving import Recorder

EVENT = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 1}}
LINE = json.dumps(EVENT).encode() + b"\n"
MIB = 2**20


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "agent.sock"


def serve(path, conversation, answer=dict, **settings):
    """Run a receiver and a conversation with it; returns (recorder, receiver, what the conversation returned)."""
    known = Senders({}, os.geteuid())

    async def both():
        recorder = Recorder()
        receiver = SocketReceiver(Door(path), recorder, answer, lambda: known, **settings)
        await receiver.start()
        try:
            return recorder, receiver, await asyncio.wait_for(conversation(receiver), 30)
        finally:
            await receiver.close()

    return asyncio.run(both())


async def connect(path):
    return await asyncio.open_unix_connection(str(path), limit=2 * MIB)


async def until(condition, seconds=5):
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def test_unfinished_lines_of_all_connections_together_are_bounded(path):
    """64 connections that begin a line of 1 MiB and stop: the rest of it waits in the kernel, not here."""

    async def conversation(receiver):
        writers = [(await connect(path))[1] for _ in range(MAX_CONNECTIONS)]
        for writer in writers:
            writer.write(b"x" * (MAX_LINE_BYTES - 1))
        await asyncio.sleep(1)
        held = [len(connection._buffer) for connection in receiver.connections]
        for writer in writers:
            writer.transport.abort()
        return held

    _, _, held = serve(path, conversation)
    assert len(held) == MAX_CONNECTIONS
    assert sum(size > bounds.SHARE_BYTES + bounds.CHUNK_BYTES for size in held) <= BIG_LINES
    assert sum(held) < 20 * MIB


def test_whole_lines_of_many_senders_get_through_one_after_the_other(path):
    """More of them at once than there are places for."""

    async def conversation(_receiver):
        async def send():
            reader, writer = await connect(path)
            writer.write(LINE.rstrip().ljust(MAX_LINE_BYTES) + b"\n")
            answer = json.loads(await reader.readline())
            writer.close()
            return answer

        return await asyncio.gather(*(send() for _ in range(3 * BIG_LINES)))

    recorder, receiver, answers = serve(path, conversation)
    assert answers == [{"ok": 1}] * (3 * BIG_LINES)
    assert len(recorder.events) == 3 * BIG_LINES
    assert not receiver.hung_up


def test_who_keeps_a_large_lines_place_without_end_is_hung_up_on(path):
    """Only while others wait for it; they get their turn."""

    async def conversation(receiver):
        stalled = [(await connect(path))[1] for _ in range(BIG_LINES)]
        for writer in stalled:
            writer.write(b"x" * (MAX_LINE_BYTES // 2))
        await asyncio.sleep(0.5)
        assert not receiver.hung_up  # nobody waits
        reader, honest = await connect(path)
        honest.write(LINE.rstrip().ljust(MAX_LINE_BYTES) + b"\n")
        answer = json.loads(await reader.readline())
        for writer in (*stalled, honest):
            writer.transport.abort()
        return answer

    _, receiver, answer = serve(path, conversation, big_line_seconds=0.2)
    assert answer == {"ok": 1}
    assert receiver.hung_up[HangUp.LINE_UNFINISHED] >= 1


def test_small_lines_pass_while_large_ones_wait(path):
    """Each connection has its own share."""

    async def conversation(_receiver):
        greedy = [(await connect(path))[1] for _ in range(2 * BIG_LINES)]
        for writer in greedy:
            writer.write(b"x" * (MAX_LINE_BYTES - 1))
        await asyncio.sleep(0.2)
        reader, writer = await connect(path)
        writer.write(LINE)
        answer = json.loads(await asyncio.wait_for(reader.readline(), 2))
        for each in (*greedy, writer):
            each.transport.abort()
        return answer

    assert serve(path, conversation)[2] == {"ok": 1}


def test_answers_that_nobody_reads_are_bounded(path):
    """Small lines with huge answers: some senders are hung up on, memory stays."""
    junk = b'{"events":[' + b",".join([b"1"] * 10_000) + b"]}\n"

    async def conversation(receiver):
        peak = 0
        writers = [(await connect(path))[1] for _ in range(MAX_CONNECTIONS)]
        for writer in writers[:16]:
            writer.transport.pause_reading()
            writer.write(junk)
            await asyncio.sleep(0.01)
            peak = max(peak, sum(connection.unread_bytes for connection in receiver.connections))
        for writer in writers:
            writer.transport.abort()
        return peak

    _, receiver, peak = serve(path, conversation)
    assert peak < bounds.UNREAD_BYTES + 2 * MIB
    assert receiver.hung_up[HangUp.ANSWERS_UNREAD] > 0


def test_a_flood_from_one_sender_does_not_stop_another(path):
    """Its turn is one chunk, then others have theirs."""

    async def conversation(_receiver):
        _, flood = await connect(path)
        flood.write(b'{"answers": false}\n' + LINE * 200_000)
        await asyncio.sleep(0.05)
        reader, writer = await connect(path)
        waits = []
        for _ in range(20):
            began = time.perf_counter()
            writer.write(LINE)
            await reader.readline()
            waits.append(time.perf_counter() - began)
        flood.transport.abort()
        writer.close()
        return sorted(waits)[len(waits) // 2]

    assert serve(path, conversation)[2] < 0.5


def test_every_byte_is_looked_at_once():
    """A line of 1 MiB in pieces of 64 bytes takes linear time: four times the bytes, not sixteen times the work."""

    def cpu_seconds(size):
        connection = Connection(None)
        connection._hold_or_read_on = lambda: None
        piece = b"x" * 64
        began = time.process_time()
        for _ in range(size // 64):
            connection.get_buffer(-1)[:64] = piece
            connection.buffer_updated(64)
        return time.process_time() - began

    assert min(cpu_seconds(MIB - 64) for _ in range(3)) < 10 * min(cpu_seconds(MIB // 4) for _ in range(3))


def test_many_lines_of_junk_in_one_chunk_are_not_held_as_objects(path):
    """What is beyond the answers that may be due stays bytes, and of these there are few."""

    async def conversation(receiver):
        writers = [(await connect(path))[1] for _ in range(4)]
        for writer in writers:
            writer.transport.pause_reading()
            writer.write(b"xy\n" * 100_000)
        await until(lambda: sum(connection._is_unread for connection in receiver.connections) == 4)
        held = [(len(connection._buffer), connection.unread_bytes) for connection in receiver.connections]
        for writer in writers:
            writer.transport.abort()
        return held

    recorder, _, held = serve(path, conversation)
    assert len(held) == 4
    assert all(size <= bounds.SHARE_BYTES + bounds.CHUNK_BYTES for size, _ in held)
    assert all(unread <= 4 * bounds.CHUNK_BYTES for _, unread in held)
    assert set(recorder.refusals) == {EventRefusal.MALFORMED}


def test_places_for_large_lines_are_given_in_the_order_of_asking():
    places = BigLines(10)
    assert [places.ask(name, 0) for name in "abcdef"] == [True] * 4 + [False] * 2
    assert not places.ask("e", 1)
    assert places.let_go("b", 1) == "e"
    assert places.ask("e", 1)
    assert places.let_go("nobody", 1) is None
    assert places.overdue(10) == ["a", "c", "d"]
    assert places.let_go("f", 2) is None  # gave up waiting
    assert not places.is_awaited
    assert places.overdue(100) == []


def test_a_flood_of_questions_does_not_keep_others_waiting(path):
    """Each takes two milliseconds to answer; another sender's event gets in between, and all are answered in order."""
    asked = []

    def answer(query):
        time.sleep(0.002)
        asked.append(query)
        return {"number": len(asked)}

    async def conversation(_receiver):
        reader, writer = await connect(path)
        writer.write(b'{"query": "status"}\n' * 300)
        writer.write_eof()
        other_reader, other = await connect(path)
        began, longest = time.monotonic(), 0.0
        while len(asked) < 300:
            other.write(LINE)
            assert json.loads(await other_reader.readline()) == {"ok": 1}
            began, longest = time.monotonic(), max(longest, time.monotonic() - began)
        other.close()
        answers = [json.loads(line) for line in (await reader.read()).splitlines()]
        writer.close()
        return longest, answers

    _, _, (longest, answers) = serve(path, conversation, answer)
    assert longest < 1
    assert [said["number"] for said in answers] == list(range(1, 301))
