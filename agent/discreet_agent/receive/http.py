"""The HTTP edge on loopback: HTTP/1.1 in, routed to handlers, answered in order; every bound in one place.

`httptools` parses. A request that the guard or a bound refuses is answered and its connection closed before its
body is kept. One request of a connection is served at a time; reading pauses meanwhile, so pipelines hold nothing up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from discreet_agent.receive.http_connection import Connection
from discreet_agent.receive.http_guard import Guard
from discreet_agent.receive.http_head import Router
from discreet_agent.receive.http_messages import HttpRefusal
from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discreet_agent.receive.http_guard import Address, Identify
    from discreet_agent.receive.http_messages import Route

MAX_CONNECTIONS = 64  # one more takes the place of one whose client is waited for; see `has_room`
MAX_BUFFERED_BYTES = 16 * 1024 * 1024  # of bodies, over all connections
DRAIN_SECONDS = 2.0  # for answers still due when the edge closes


class HttpServer:
    """Listens on one loopback address. Handlers may raise RequestRefusedError; any other exception ends the daemon."""

    def __init__(self, address: Address, routes: Iterable[Route], identify: Identify) -> None:
        self.address = address
        self.guard = Guard(address, identify)
        self.refused: Counter[HttpRefusal] = Counter()  # since the start
        self.buffered_bytes = 0
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.router = Router(routes)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind; fails loudly where the port is taken. Raises ConfigError."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: Connection(self), self.address.host, self.address.port)
        except OSError as exc:
            hint = "end the program that listens there, or set `http` to another port"
            raise ConfigError(f"cannot listen on {self.address}: {exc.strerror or exc}", hint=hint) from exc

    async def close(self) -> None:
        """Stop listening, give requests that are being served their answers, hang up. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=DRAIN_SECONDS)
        for connection in tuple(self.connections):
            connection.hang_up()
        await asyncio.sleep(0)  # a closed transport lets go of its socket in the loop's next turn
        self._server = None

    def has_room(self) -> bool:
        """Whether one more connection may be served; where all places are taken, one whose client is waited for goes.

        First the one that has been idle for longest, else the one whose request has been arriving for longest.
        """
        if len(self.connections) < MAX_CONNECTIONS:
            return True
        idle = {c: c.idle_since for c in self.connections if c.idle_since is not None}
        arriving = {c: c.arriving_since for c in self.connections if c.arriving_since is not None}
        if not idle:
            self.refused[HttpRefusal.BUSY] += 1
        waited_for = idle or arriving
        if not waited_for:
            return False
        longest = min(waited_for, key=waited_for.__getitem__)
        self.connections.discard(longest)
        longest.hang_up()
        return True

    def hold(self, more_bytes: int, who: Connection) -> bool:
        """Account for bytes of bodies that are kept (negative: let go of); False where there is no room for them.

        Who holds most of a body that is still arriving makes room for one that holds less.
        """
        if more_bytes > 0 and self.buffered_bytes + more_bytes > MAX_BUFFERED_BYTES:
            arriving = [c for c in self.connections if c.arriving_since is not None]
            greediest = max(arriving, key=lambda c: c.held_bytes, default=who)
            if greediest.held_bytes <= who.held_bytes + more_bytes:
                return False
            greediest.make_room()
        self.buffered_bytes += more_bytes
        return True

    def supervise(self, task: asyncio.Task[None], connection: Connection) -> None:
        """Keep a task until it ends; a failure that nobody expected goes to the loop, which ends the daemon."""

        def done(task: asyncio.Task[None]) -> None:
            self.tasks.discard(task)
            exception = None if task.cancelled() else task.exception()
            if exception is not None:
                connection.hang_up()
                context = {"message": "serving an HTTP request failed", "exception": exception}
                task.get_loop().call_exception_handler(context)

        self.tasks.add(task)
        task.add_done_callback(done)
