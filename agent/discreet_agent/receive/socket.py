"""The Unix socket: newline-delimited JSON in, one JSON answer a line, written after the commit.

Lines are gathered over all connections and handed to the recorder in groups, so that one
commit serves many. A connection with too many unanswered lines is not read from.
"""

from __future__ import annotations

import asyncio
import socket as sockets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.receive.lines import MAX_LINE_BYTES, Query, decode_line, too_large
from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from discreet_agent.event import Received, Refused

    Recorder = Callable[[Sequence[Received]], Sequence[Refused | None]]
    Answerer = Callable[[str], dict[str, Any]]

GROUP_EVENTS = 1000  # a group this large is committed at once
GROUP_SECONDS = 0.005  # a smaller one after this wait
MAX_CONNECTIONS = 64  # more are hung up on, so that descriptors are left for the database
UNANSWERED_LINES = 64  # per connection, then reading pauses


@dataclass(slots=True)
class _Pending:
    connection: _Connection
    events: list[Received]


class SocketReceiver:
    """Listens on a Unix socket; `record` commits a group of events, `answer` serves queries."""

    def __init__(self, path: Path, record: Recorder, answer: Answerer) -> None:
        self._path = path
        self._record = record
        self.answer = answer
        self._server: asyncio.Server | None = None
        self._pending: list[_Pending] = []
        self._pending_events = 0
        self._flush_handle: asyncio.TimerHandle | None = None
        self.connections: set[_Connection] = set()

    async def start(self) -> None:
        """Bind; fails loudly where another process is listening, replaces a socket that nobody serves."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            hint = "set `socket` to a path in a folder that you may write"
            raise ConfigError(f"cannot make {self._path.parent}: {exc.strerror}", hint=hint) from exc
        if self._path.exists():
            if not self._path.is_socket():
                raise ConfigError(f"{self._path} is a file, not a socket", hint="set `socket` to another path")
            if _someone_listens(self._path):
                raise ConfigError(f"another agent listens on {self._path}", hint="stop it, or configure another socket")
            self._path.unlink()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_unix_server(lambda: _Connection(self), str(self._path))
        except OSError as exc:
            raise ConfigError(
                f"cannot listen on {self._path}: {exc}", hint="choose a short path that you may write"
            ) from exc
        self._path.chmod(0o660)

    async def close(self) -> None:
        """Commit and answer what was received, then stop listening."""
        if self._server is None:
            return
        self._server.close()
        try:
            self.flush()
        finally:  # whoever was not answered must see the end, to send again
            for connection in tuple(self.connections):
                connection.close()
        await asyncio.sleep(0)  # a closed transport lets go of its socket in the loop's next turn
        self._server = None
        self._path.unlink(missing_ok=True)

    def take(self, connection: _Connection, events: list[Received]) -> None:
        """Queue one line's events for the next group commit."""
        self._pending.append(_Pending(connection, events))
        self._pending_events += len(events)
        if self._pending_events >= GROUP_EVENTS:
            self.flush()
        elif self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(GROUP_SECONDS, self.flush)

    def flush(self) -> None:
        """Commit everything queued and answer each line."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        group, self._pending, self._pending_events = self._pending, [], 0
        if not group:
            return
        outcomes = deque(self._record([event for pending in group for event in pending.events]))
        for pending in group:
            pending.connection.reply(_verdicts([outcomes.popleft() for _ in pending.events]))


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: SocketReceiver) -> None:
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._skipping = False  # inside a line that is already too large
        self._unanswered = 0
        self._writing_paused = False  # the sender does not read its answers
        self._ended = False  # the sender will say no more, but still waits for answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_unix_server gives nothing else
        if len(self._receiver.connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self._transport = transport
        self._receiver.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._receiver.connections.discard(self)
        self._transport = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """Take nothing more from a sender that does not read its answers."""
        self._writing_paused = True
        self._hold_or_read_on()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._hold_or_read_on()

    def _hold_or_read_on(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._writing_paused or self._unanswered >= UNANSWERED_LINES:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        for line in lines:
            self._take_line(bytes(line))
        if len(self._buffer) > MAX_LINE_BYTES:
            self._buffer.clear()
            self._skipping = True

    def eof_received(self) -> bool:
        if self._buffer or self._skipping:
            self._take_line(bytes(self._buffer))
            self._buffer.clear()
        self._ended = True
        return self._unanswered > 0  # True keeps the writing side open for the answers still due

    def _take_line(self, line: bytes) -> None:
        skipped, self._skipping = self._skipping, False
        if not line.strip() and not skipped:
            return
        content = [too_large()] if skipped else decode_line(line)
        if isinstance(content, Query):
            self._receiver.flush()  # an answer must include what this sender said before it asked
            self._write(self._receiver.answer(content.name))
            return
        self._unanswered += 1
        self._hold_or_read_on()
        self._receiver.take(self, list(content))

    def reply(self, answer: dict[str, Any]) -> None:
        self._unanswered -= 1
        self._write(answer)
        if self._ended and self._unanswered == 0:
            self.close()
        else:
            self._hold_or_read_on()

    def _write(self, answer: dict[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(msgspec.json.encode(answer) + b"\n")


def _verdicts(outcomes: list[Refused | None]) -> dict[str, Any]:
    refused = [
        {"index": index, "reason": outcome.reason.value, "detail": outcome.detail}
        for index, outcome in enumerate(outcomes)
        if outcome is not None
    ]
    answer: dict[str, Any] = {"ok": len(outcomes) - len(refused)}
    return answer | {"refused": refused} if refused else answer


def _someone_listens(path: Path) -> bool:
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
