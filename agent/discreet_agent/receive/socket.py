"""The Unix socket: newline-delimited JSON in, one JSON answer a line, written after the commit.

Lines are gathered over all connections and handed to the recorder in groups, so that one commit serves many.
Who speaks is asked of the policy's senders; what senders may make this process hold is bounded (see `bounds`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from discreet_agent.receive.bounds import (
    BIG_LINE_SECONDS,
    MAX_CONNECTIONS,
    UNREAD_BYTES,
    BigLines,
    HangUp,
)
from discreet_agent.receive.connection import Connection
from discreet_agent.receive.group import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_agent.personal.apps import Apps
    from discreet_agent.receive.door import Door
    from discreet_agent.receive.group import RecordGroup
    from discreet_agent.receive.lines import Query
    from discreet_agent.senders import Senders

    Answerer = Callable[[Query], dict[str, Any]]


class SocketReceiver:
    """Listens at a door; `record` commits a group of batches, `answer` serves queries, `senders` says who may speak.

    `apps` serves the queries of apps; without it there are none.
    """

    def __init__(
        self,
        door: Door,
        record: RecordGroup,
        answer: Answerer,
        senders: Callable[[], Senders],
        *,
        apps: Apps | None = None,
        big_line_seconds: float = BIG_LINE_SECONDS,
    ) -> None:
        self._door = door
        self.group = GroupCommit(record)
        self.answer = answer
        self.senders = senders
        self.apps = apps
        self._server: asyncio.Server | None = None
        self._big_lines: BigLines[Connection] = BigLines(big_line_seconds)
        self._big_line_seconds = big_line_seconds
        self._overdue_handle: asyncio.TimerHandle | None = None
        self.connections: set[Connection] = set()
        self.hung_up: Counter[HangUp] = Counter()

    async def start(self) -> None:
        """Listen; fails loudly where another process does, or the socket cannot be made as configured."""
        bound = self._door.open()
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: Connection(self), sock=bound)

    async def close(self) -> None:
        """Commit and answer what was received, then stop listening."""
        if self._server is None:
            return
        self._server.close()
        try:
            self.group.flush()
        finally:  # whoever was not answered must see the end, to send again
            for connection in tuple(self.connections):
                connection.close()
            if self._overdue_handle is not None:
                self._overdue_handle.cancel()
        await asyncio.sleep(0)  # a closed transport lets go of its socket in the loop's next turn
        self._server = None
        self._door.path.unlink(missing_ok=True)

    # --- what connections share --------------------------------------------------------------

    def welcome(self, newcomer: Connection) -> None:
        """Take a connection in. Where all places are taken, the user who has most gives one to a user with fewer."""
        if len(self.connections) >= MAX_CONNECTIONS:
            held = Counter(connection.peer.uid for connection in self.connections)
            greediest, most = held.most_common(1)[0]
            if held[newcomer.peer.uid] + 1 >= most:
                newcomer.hang_up(HangUp.TOO_MANY_CONNECTIONS)
                return
            theirs = [connection for connection in self.connections if connection.peer.uid == greediest]
            idlest = min(theirs, key=lambda connection: connection.unanswered)
            self.connections.discard(idlest)
            idlest.hang_up(HangUp.TOO_MANY_CONNECTIONS)
        self.connections.add(newcomer)

    def bound_unread(self) -> None:
        """End the connection that left most answers unread, where all of them together are too many."""
        if sum(connection.unread_bytes for connection in self.connections) > UNREAD_BYTES:
            max(self.connections, key=lambda connection: connection.unread_bytes).hang_up(HangUp.ANSWERS_UNREAD)

    def may_read_big_line(self, connection: Connection) -> bool:
        """Whether this connection may go on with a line larger than its share; else it is called when it may."""
        loop = asyncio.get_running_loop()
        may = self._big_lines.ask(connection, loop.time())
        if not may and self._overdue_handle is None:
            self._overdue_handle = loop.call_later(self._big_line_seconds / 4, self._end_overdue)
        return may

    def let_go_of_big_line(self, connection: Connection) -> None:
        """Its line has ended, or its connection: the next one's turn."""
        following = self._big_lines.let_go(connection, asyncio.get_running_loop().time())
        if following is not None:
            following.take_lines()

    def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._big_lines.overdue(loop.time()):
            connection.hang_up(HangUp.LINE_UNFINISHED)
        is_awaited = self._big_lines.is_awaited
        self._overdue_handle = loop.call_later(self._big_line_seconds / 4, self._end_overdue) if is_awaited else None
