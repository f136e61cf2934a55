"""The Unix socket: one answer a line, after the commit, in order; bad input disturbs nobody else."""

import asyncio
import json
import os
import socket as sockets
import tempfile
from pathlib import Path

import pytest

from discreet_agent.event import EventRefusal
from discreet_agent.receive.bounds import MAX_CONNECTIONS, UNANSWERED_LINES
from discreet_agent.receive.door import Door
from discreet_agent.receive.group import GROUP_EVENTS
from discreet_agent.receive.lines import MAX_LINE_BYTES
from discreet_agent.receive.socket import SocketReceiver
from discreet_agent.senders import Senders
from discreet_contract.errors import ConfigError
from receiving import Recorder

EVENT = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 1}}


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own paths are too long for a socket
        yield Path(folder) / "agent.sock"


def serve(path, conversation, senders=None, own_uid=None):
    """Run a receiver and a conversation with it; returns (recorder, what the conversation returned)."""
    known = Senders(senders or {}, os.geteuid() if own_uid is None else own_uid)

    async def both():
        recorder = Recorder()
        receiver = SocketReceiver(
            Door(path), recorder, lambda query: {"you asked": query.name, "groups": len(recorder.groups)}, lambda: known
        )
        await receiver.start()
        try:
            return recorder, await asyncio.wait_for(conversation(path), 20)
        finally:
            await receiver.close()

    return asyncio.run(both())


def talk(*lines):
    """A conversation: send lines, close the writing side, read every answer."""

    async def conversation(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"".join(lines))
        writer.write_eof()
        answers = [await reader.readline() for line in lines if line.strip()]
        writer.close()
        return [json.loads(answer) for answer in answers]

    return conversation


def line(content):
    return json.dumps(content).encode() + b"\n"


def test_each_line_gets_its_own_answer(path):
    """Single events, batches, refusals with their index, and blank lines that are nothing."""
    _, answers = serve(path, talk(line(EVENT), b"\n", line({"events": [EVENT, 7, EVENT]}), b"{broken\n"))

    assert answers[0] == {"ok": 1}
    assert answers[1]["ok"] == 2
    assert [(item["index"], item["reason"]) for item in answers[1]["refused"]] == [(1, "MALFORMED")]
    assert answers[2]["refused"][0]["reason"] == "MALFORMED"


def test_an_oversized_line_is_refused_and_the_next_one_taken(path):
    """Its bytes are not even kept."""
    recorder, answers = serve(path, talk(b"x" * (3 * MAX_LINE_BYTES) + b"\n", line(EVENT)))

    assert answers[0]["refused"][0]["reason"] == EventRefusal.TOO_LARGE
    assert answers[1] == {"ok": 1}
    assert len(recorder.events) == 1


def test_a_last_line_without_newline_is_taken(path):
    """`printf … | nc -U` works."""
    _, answers = serve(path, talk(line(EVENT).rstrip()))
    assert answers == [{"ok": 1}]


def test_many_lines_share_few_commits(path):
    """Group commit over everything that arrives together."""
    recorder, answers = serve(path, talk(*[line(EVENT)] * 500))

    assert answers == [{"ok": 1}] * 500
    assert len(recorder.events) == 500
    assert len(recorder.groups) <= 500 // UNANSWERED_LINES + 10


def test_a_large_batch_is_one_commit(path):
    """Even above the size of a group."""
    recorder, answers = serve(path, talk(line({"events": [EVENT] * (GROUP_EVENTS + 500)})))

    assert answers == [{"ok": GROUP_EVENTS + 500}]
    assert [len(group) for group in recorder.groups] == [GROUP_EVENTS + 500]


def test_a_query_sees_what_was_said_before_it(path):
    """The group is committed first."""
    _, answers = serve(path, talk(line(EVENT), line({"query": "status"})))
    assert {"you asked": "status", "groups": 1} in answers


def test_a_sender_that_hangs_up_disturbs_nobody(path):
    """Its events are recorded all the same; others get their answers."""

    async def conversation(path):
        _, rude = await asyncio.open_unix_connection(str(path))
        rude.write(line(EVENT))
        await rude.drain()
        rude.transport.abort()
        await asyncio.sleep(0.05)
        return await talk(line(EVENT))(path)

    recorder, answers = serve(path, conversation)
    assert answers == [{"ok": 1}]
    assert len(recorder.events) == 2


def test_a_socket_that_nobody_serves_is_replaced_a_served_one_is_not(path):
    """A crash leaves a stale file; a second agent is a mistake."""
    with sockets.socket(sockets.AF_UNIX) as stale:
        stale.bind(str(path))
    serve(path, talk(line(EVENT)))

    async def second(path):
        with pytest.raises(ConfigError, match="another agent listens"):
            Door(path).open()
        await asyncio.sleep(0.05)  # the first one still has to take and drop the probe's connection

    serve(path, second)


def test_a_path_that_cannot_be_bound_is_explained(tmp_path):
    """Too long for a socket."""
    with pytest.raises(ConfigError, match="cannot listen") as error:
        Door(tmp_path / ("x" * 200)).open()
    assert "short path" in error.value.hint


def test_the_socket_is_not_for_everybody(path):
    """Owner and group only."""

    async def mode(path):
        return path.stat().st_mode & 0o777

    assert serve(path, mode)[1] == 0o660


def test_a_sender_that_is_done_leaves_no_descriptor_behind(path):
    """A million short connections must not use up the process's files."""

    async def many(path):
        import os

        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - one listing in a test
        for _ in range(20):
            await talk(line(EVENT))(path)
            await talk(line({"query": "status"}))(path)
        await asyncio.sleep(0.05)
        return len(os.listdir("/proc/self/fd")) - before  # noqa: PTH208

    assert serve(path, many)[1] <= 1


def test_a_sender_that_does_not_read_is_not_read_from(path):
    """Its answers must not fill the agent's memory."""

    async def conversation(path):
        _, writer = await asyncio.open_unix_connection(str(path), limit=1024)
        writer.transport.pause_reading()
        sent = 0
        deadline = asyncio.get_running_loop().time() + 2
        while asyncio.get_running_loop().time() < deadline:
            writer.write(b"x\n" * 1000)
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except TimeoutError:
                break
            sent += 1000
        writer.transport.abort()
        return sent

    recorder, sent = serve(path, conversation)
    assert sum(len(group) for group in recorder.groups) < 20_000, sent


def test_there_is_a_limit_to_connections(path):
    """The rest is hung up on, and a place that gets free is given again."""

    async def conversation(path):
        opened = [await asyncio.open_unix_connection(str(path)) for _ in range(MAX_CONNECTIONS + 5)]
        await asyncio.sleep(0.1)
        hung_up = [reader for reader, _ in opened if reader.at_eof()]
        for _, writer in opened:
            writer.close()
        await asyncio.sleep(0.1)
        return len(hung_up), await talk(line(EVENT))(path)

    assert serve(path, conversation)[1] == (5, [{"ok": 1}])


def test_a_file_that_is_no_socket_is_left_alone(path):
    """A wrong path in the configuration must not cost a file."""
    path.write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        Door(path).open()
    assert path.read_text() == "precious"
