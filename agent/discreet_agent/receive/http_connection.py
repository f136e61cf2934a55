"""One connection of the HTTP edge: bytes → checked requests → answers, in order, within its bounds and times."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from discreet_agent.receive.http_messages import (
    HttpRefusal,
    RefusedRequest,
    RequestRefusedError,
    Response,
)
from discreet_agent.receive.http_reader import Exchange, RequestReader
from discreet_agent.receive.http_refusals import refusal_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_agent.receive.http import HttpServer
    from discreet_agent.receive.http_messages import Follow

READ_BYTES = 16_384  # at a time, so that a pipeline of tiny requests stays small
IDLE_SECONDS = 75.0  # between two requests
HEAD_SECONDS = 10.0
REQUEST_SECONDS = 30.0  # for a whole request once its head is here
WRITE_SECONDS = 30.0  # for a client to take its answer
LINGER_SECONDS = 2.0  # a refused client may go on sending: hung up on at once, it would never see why


class Connection(asyncio.BufferedProtocol):
    """One client."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._input = bytearray(READ_BYTES)
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: deque[Exchange] = deque()
        self._is_serving = False
        self._is_lingering = False  # answered for the last time; what still comes is not looked at
        self._has_ended = False  # the client says no more, but may still wait for answers
        self.held_bytes = 0  # of bodies
        self._unfollow: Callable[[], None] | None = None  # while a stream goes out
        self.idle_since: float | None = None
        self.arriving_since: float | None = None  # while part of a request is here, or a refused one is still coming
        self._reader = RequestReader(server.guard, server.router, self)

    # --- asyncio -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or hang up where there is no room."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - create_server gives nothing else; Nagle is off
        if not self._server.has_room():
            transport.abort()
            return
        self._transport = transport
        self._server.connections.add(self)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Let go of everything that was kept for it."""
        self._server.connections.discard(self)
        self._transport = None
        self._stop_timer()
        self._waiting.clear()
        self.hold(-self.held_bytes)
        self._writable.set()
        unfollow, self._unfollow = self._unfollow, None
        if unfollow is not None:
            unfollow()

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go."""
        return self._input

    def buffer_updated(self, nbytes: int) -> None:
        """Some bytes came."""
        if self._reader.is_refused or self._is_lingering:
            return
        if self.idle_since is not None:
            self.idle_since, self.arriving_since = None, asyncio.get_running_loop().time()
            self._arm(HEAD_SECONDS, self._too_slow)
        self._reader.feed(bytes(memoryview(self._input)[:nbytes]))

    def eof_received(self) -> bool:
        """The client says no more; True keeps the writing side open for answers still due."""
        self._has_ended = True
        return self._is_serving

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It reads them again."""
        self._writable.set()

    def hang_up(self) -> None:
        """Close; what was written still goes out, if the client takes it soon."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.close()
            self._arm(LINGER_SECONDS, self._abort)

    # --- what the reader tells ---------------------------------------------------------------

    def take(self, exchange: Exchange) -> None:
        """Answer in turn; nothing more is read until all that came so far is answered."""
        self._waiting.append(exchange)
        if self._is_serving:
            return
        self._is_serving, self.arriving_since = True, None
        self._stop_timer()
        if self._transport is not None:
            self._transport.pause_reading()
        self._server.supervise(asyncio.get_running_loop().create_task(self._serve()), self)

    def head_is_read(self, *, wants_to_go_on: bool) -> None:
        """A body is next; its sender may wait to be told that it is wanted."""
        self._arm(REQUEST_SECONDS, self._too_slow)
        if wants_to_go_on and not self._is_serving:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def hold(self, more_bytes: int) -> bool:
        """Account for bytes of a body, here and for all connections together."""
        if not self._server.hold(more_bytes, self):
            return False
        self.held_bytes += more_bytes
        return True

    # --- answering ---------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Answer everything that waits, in order."""
        is_closing = False
        while self._waiting and not is_closing:
            exchange = self._waiting.popleft()
            response = await self._respond(exchange)
            if self._transport is None:  # gone meanwhile, and with it what it held
                return
            if not isinstance(exchange.asked, RefusedRequest):
                self.hold(-len(exchange.asked[0].body))
            is_closing = exchange.closing or (self._has_ended and not self._waiting)
            self._write(response.encode(closing=is_closing, head_only=exchange.head_only))
            if response.follow is not None and not exchange.head_only:
                self._begin_stream(self._transport, response.follow)
                return
            await self._until_writable()
        self._is_serving = False
        if self._transport is None or self._transport.is_closing():
            return
        if is_closing:
            self._linger(self._transport)
        else:
            self._transport.resume_reading()
            self._rest()

    async def _respond(self, exchange: Exchange) -> Response:
        if isinstance(exchange.asked, RefusedRequest):
            refused = exchange.asked
        else:
            request, route = exchange.asked
            try:
                return await route.handler(request)
            except RequestRefusedError as raised:
                refused = raised.refused
        self._server.refused[refused.reason] += 1
        return refusal_response(refused, exchange.wanted, exchange.path)

    def _write(self, content: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)

    async def _until_writable(self) -> None:
        """Until the client has taken most of its answers; one that does not is hung up on."""
        if not self._writable.is_set():
            self._arm(WRITE_SECONDS, self._abort)
            await self._writable.wait()
            self._stop_timer()

    # --- streaming ---------------------------------------------------------------------------

    def _begin_stream(self, transport: asyncio.Transport, follow: Follow) -> None:
        """From here on only the other side's end is awaited; what it may still say is not looked at."""
        self._is_serving, self._is_lingering = False, True
        if self._has_ended:
            self.hang_up()
            return
        self._unfollow = follow(self)
        transport.resume_reading()

    def send(self, content: bytes) -> None:
        """Say more of a stream. A client that has not taken what was said before is hung up on."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()
            return
        self._write(content)

    # --- times -------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Wait for a request; part of one may be here already."""
        if self._reader.has_begun:
            self.arriving_since = asyncio.get_running_loop().time()
            self._arm(REQUEST_SECONDS, self._too_slow)
            return
        self.idle_since = asyncio.get_running_loop().time()
        self._arm(IDLE_SECONDS, self.hang_up)

    def _linger(self, transport: asyncio.Transport) -> None:
        """Say that nothing more comes, and swallow what the client still sends for a moment."""
        self._is_lingering = True
        if self._has_ended:
            self.hang_up()
            return
        self.arriving_since = asyncio.get_running_loop().time()
        transport.write_eof()
        transport.resume_reading()
        self._arm(LINGER_SECONDS, self._abort)

    def make_room(self) -> None:
        """Let go of what is here of a body, for another client's."""
        self._reader.refuse(HttpRefusal.BUSY, "too much is being received at once")

    def _too_slow(self) -> None:
        self._reader.refuse(HttpRefusal.TOO_SLOW, "the request took too long to arrive")

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _arm(self, after_seconds: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(after_seconds, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
