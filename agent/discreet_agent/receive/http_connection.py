"""One connection of the HTTP edge: bytes → checked requests → answers, in order, within its bounds and times."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httptools

from discreet_agent.receive.http_head import MAX_BODY_BYTES, Head, check_head
from discreet_agent.receive.http_messages import (
    HttpRefusal,
    RefusedRequest,
    Request,
    RequestRefusedError,
    Response,
    Route,
    media_type,
    refusal_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_agent.receive.http import HttpServer

READ_BYTES = 16_384  # at a time, so that a pipeline of tiny requests stays small
MAX_HEAD_BYTES = 16_384
IDLE_SECONDS = 75.0  # between two requests
HEAD_SECONDS = 10.0
REQUEST_SECONDS = 30.0  # for a whole request once its head is here
WRITE_SECONDS = 30.0  # for a client to take its answer
LINGER_SECONDS = 2.0  # a refused client may go on sending: hung up on at once, it would never see why

_UPGRADING = ("upgrade", "connection", "http2-settings")


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A whole request and its route, or the refusal of one that was not worth reading."""

    asked: tuple[Request, Route] | RefusedRequest
    wanted: str  # media type of a refusal
    closing: bool
    head_only: bool = False


class Connection(asyncio.BufferedProtocol):
    """One client."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._input = bytearray(READ_BYTES)
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: deque[_Exchange] = deque()
        self._is_serving = False
        self._is_refused = False  # nothing more is read than to let the answer arrive
        self._has_ended = False  # the client says no more, but may still wait for answers
        self._held_bytes = 0  # of bodies
        self.idle_since: float | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._await_head()

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
        self._let_go(self._held_bytes)
        self._writable.set()

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002 - asyncio's signature
        """Where the next bytes go."""
        return self._input

    def buffer_updated(self, nbytes: int) -> None:
        """Some bytes came."""
        if self._is_refused:
            return
        if self.idle_since is not None:
            self.idle_since = None
            self._arm(HEAD_SECONDS, self._too_slow)
        if self._in_head:
            self._head_bytes += nbytes
        self._feed(bytes(memoryview(self._input)[:nbytes]))
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HttpRefusal.HEAD_TOO_LARGE, f"a head has at most {MAX_HEAD_BYTES} bytes")

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
        """Close; what was written still goes out."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.close()

    # --- the parser --------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No other protocol is spoken here, so the wish is ignored, as HTTP lets a server do. The parser
            # has stopped at the head's end: another one reads on, from the same head without the wish.
            head, self._is_upgrading = self._without_upgrade(), False
            self._parser = httptools.HttpRequestParser(self)
            self._feed(head + data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(HttpRefusal.BAD_REQUEST, "this is not HTTP/1.1")

    def _without_upgrade(self) -> bytes:
        if self._parser.get_method() == b"CONNECT":
            self._refuse(HttpRefusal.BAD_REQUEST, "this is no proxy")
            return b""
        lines = [f"{self._parser.get_method().decode()} {self._target.decode('latin-1')} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._headers if name not in _UPGRADING]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _await_head(self) -> None:
        self._in_head = True
        self._has_begun = False
        self._head_bytes = 0
        self._head_text_bytes = 0
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body = bytearray()
        self._asked: tuple[Request, Route] | None = None
        self._is_upgrading = False
        self._keep_alive = False

    def on_message_begin(self) -> None:
        """A request begins."""
        self._has_begun = True
        self._target, self._headers, self._head_text_bytes = b"", [], 0

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer."""
        if not self._in_head or self._is_refused:  # a trailer
            return
        self._head_text_bytes += len(name) + len(value) + 4
        if self._head_text_bytes + len(self._target) > MAX_HEAD_BYTES:  # several requests may come at once
            self._refuse(HttpRefusal.HEAD_TOO_LARGE, f"a head has at most {MAX_HEAD_BYTES} bytes")
            return
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The head is whole: judge it before its body comes."""
        self._is_upgrading = self._parser.should_upgrade()
        if self._is_refused or self._is_upgrading:
            return
        self._in_head = False
        version = self._parser.get_http_version()
        self._keep_alive = self._parser.should_keep_alive() and version == "1.1"
        head = Head(self._parser.get_method().decode("latin-1"), self._target.decode("latin-1"), version, self._headers)
        try:
            self._asked = check_head(head, self._server.guard, self._server.router)
        except RequestRefusedError as raised:
            self._enqueue_refusal(raised.refused)
            return
        self._arm(REQUEST_SECONDS, self._too_slow)
        if "expect" in self._asked[0].headers and not self._is_serving:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body, within its bounds."""
        if self._is_refused:
            return
        if len(self._body) + len(body) > MAX_BODY_BYTES:
            self._refuse(HttpRefusal.BODY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")
        elif not self._server.hold(len(body)):
            self._refuse(HttpRefusal.BUSY, "too much is being received at once")
        else:
            self._held_bytes += len(body)
            self._body += body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._is_refused or self._is_upgrading or self._asked is None:
            return
        request, route = self._asked
        request = replace(request, body=bytes(self._body))
        exchange = _Exchange(
            (request, route), request.media_type, closing=not self._keep_alive, head_only=request.method == "HEAD"
        )
        self._await_head()
        self._enqueue(exchange)

    # --- answering ---------------------------------------------------------------------------

    def _refuse(self, reason: HttpRefusal, message: str) -> None:
        self._enqueue_refusal(RefusedRequest(reason, message))

    def _enqueue_refusal(self, refused: RefusedRequest) -> None:
        """Answer after what was asked before, then let go; nothing more of this client is kept."""
        if self._is_refused:
            return
        self._is_refused = True
        self._let_go(len(self._body))
        self._body = bytearray()
        is_head = not self._in_head and self._parser.get_method() == b"HEAD"
        self._enqueue(_Exchange(refused, media_type(dict(self._headers)), closing=True, head_only=is_head))

    def _enqueue(self, exchange: _Exchange) -> None:
        self._waiting.append(exchange)
        if self._is_serving:
            return
        self._is_serving = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.pause_reading()
        self._server.supervise(asyncio.get_running_loop().create_task(self._serve()), self)

    async def _serve(self) -> None:
        """Answer everything that waits, in order."""
        is_closing = False
        while self._waiting and not is_closing:
            exchange = self._waiting.popleft()
            response = await self._respond(exchange)
            if self._transport is None:  # gone meanwhile, and with it what it held
                return
            if not isinstance(exchange.asked, RefusedRequest):
                self._let_go(len(exchange.asked[0].body))
            is_closing = exchange.closing or (self._has_ended and not self._waiting)
            self._write(response.encode(closing=is_closing, head_only=exchange.head_only))
            await self._until_writable()
        self._is_serving = False
        if self._transport is None or self._transport.is_closing():
            return
        if is_closing:
            self._linger(self._transport)
        else:
            self._transport.resume_reading()
            self._rest()

    async def _respond(self, exchange: _Exchange) -> Response:
        if isinstance(exchange.asked, RefusedRequest):
            refused = exchange.asked
        else:
            request, route = exchange.asked
            try:
                return await route.handler(request)
            except RequestRefusedError as raised:
                refused = raised.refused
        self._server.refused[refused.reason] += 1
        return refusal_response(refused, exchange.wanted)

    def _write(self, content: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)

    async def _until_writable(self) -> None:
        """Until the client has taken most of its answers; one that does not is hung up on."""
        if not self._writable.is_set():
            self._arm(WRITE_SECONDS, self._abort)
            await self._writable.wait()
            self._stop_timer()

    # --- times -------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Wait for a request; part of one may be here already."""
        if self._has_begun:
            self._arm(REQUEST_SECONDS, self._too_slow)
            return
        self.idle_since = asyncio.get_running_loop().time()
        self._arm(IDLE_SECONDS, self.hang_up)

    def _linger(self, transport: asyncio.Transport) -> None:
        """Say that nothing more comes, and swallow what the client still sends for a moment."""
        self._is_refused = True
        if self._has_ended:
            self.hang_up()
            return
        transport.write_eof()
        transport.resume_reading()
        self._arm(LINGER_SECONDS, self._abort)

    def _too_slow(self) -> None:
        self._refuse(HttpRefusal.TOO_SLOW, "the request took too long to arrive")

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

    def _let_go(self, held_bytes: int) -> None:
        self._held_bytes -= held_bytes
        self._server.hold(-held_bytes)
