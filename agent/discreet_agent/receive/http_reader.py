"""Bytes of one connection → whole requests, or the refusal of one that is not worth reading on. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import httptools

from discreet_agent.receive.http_head import MAX_BODY_BYTES, Head, check_head
from discreet_agent.receive.http_messages import (
    HttpRefusal,
    RefusedRequest,
    Request,
    RequestRefusedError,
    Route,
    media_type,
)

if TYPE_CHECKING:
    from typing import Protocol

    from discreet_agent.receive.http_guard import Guard
    from discreet_agent.receive.http_head import Router

    class Listener(Protocol):
        """Whom a reader tells what it read."""

        def take(self, exchange: Exchange) -> None:
            """A request, or the refusal that ends the connection."""

        def head_is_read(self, *, wants_to_go_on: bool) -> None:
            """A body is next; its sender may wait to be told that it is wanted."""

        def hold(self, more_bytes: int) -> bool:
            """Account for bytes of a body (negative: let go of); False where there is no room for them."""


MAX_HEAD_BYTES = 16_384

_UPGRADING = ("upgrade", "connection", "http2-settings")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A whole request and its route, or the refusal of one."""

    asked: tuple[Request, Route] | RefusedRequest
    wanted: str  # media type of a refusal
    closing: bool
    path: str = ""
    head_only: bool = False


class RequestReader:
    """One connection's requests, one after the other. After a refusal nothing more is read."""

    def __init__(self, guard: Guard, router: Router, listener: Listener) -> None:
        self._guard = guard
        self._router = router
        self._listener = listener
        self.is_refused = False
        self._body = bytearray()
        self._parser = httptools.HttpRequestParser(self)
        self._await_head()

    def feed(self, data: bytes) -> None:
        """Read on. Never raises, whatever the bytes are."""
        if self._in_head:
            self._head_bytes += len(data)
        while data and not self.is_refused:
            data = self._parse(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.refuse(HttpRefusal.HEAD_TOO_LARGE, f"a head has at most {MAX_HEAD_BYTES} bytes")

    def refuse(self, reason: HttpRefusal, message: str) -> None:
        """Refuse what is being read."""
        self._refuse(RefusedRequest(reason, message))

    def _refuse(self, refused: RefusedRequest) -> None:
        if self.is_refused:
            return
        self.is_refused = True
        self._listener.hold(-len(self._body))
        self._body = bytearray()
        is_head = not self._in_head and self._parser.get_method() == b"HEAD"
        wanted, path = media_type(dict(self._headers)), self._target.decode("latin-1").partition("?")[0]
        self._listener.take(Exchange(refused, wanted, closing=True, path=path, head_only=is_head))

    def _parse(self, data: bytes) -> bytes:
        """Parse; returns what is left for another parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No other protocol is spoken here, so the wish is ignored, as HTTP lets a server do. The parser
            # has stopped at the head's end: another one reads on, from the same head without the wish.
            head, self._is_upgrading = self._without_upgrade(), False
            self._parser = httptools.HttpRequestParser(self)
            return head + data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self.refuse(HttpRefusal.BAD_REQUEST, "this is not HTTP/1.1")
        return b""

    def _without_upgrade(self) -> bytes:
        if self._parser.get_method() == b"CONNECT":
            self.refuse(HttpRefusal.BAD_REQUEST, "this is no proxy")
            return b""
        lines = [f"{self._parser.get_method().decode()} {self._target.decode('latin-1')} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._headers if name not in _UPGRADING]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    # --- what the parser calls ---------------------------------------------------------------

    def _await_head(self) -> None:
        self._in_head = True
        self.has_begun = False
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
        self.has_begun = True
        self._target, self._headers, self._head_text_bytes = b"", [], 0

    def on_url(self, url: bytes) -> None:
        """A piece of its target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer."""
        if not self._in_head or self.is_refused:
            return
        self._head_text_bytes += len(name) + len(value) + 4
        if self._head_text_bytes + len(self._target) > MAX_HEAD_BYTES:  # several requests may come at once
            self.refuse(HttpRefusal.HEAD_TOO_LARGE, f"a head has at most {MAX_HEAD_BYTES} bytes")
            return
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """The head is whole: judge it before its body comes."""
        self._is_upgrading = self._parser.should_upgrade()
        if self.is_refused or self._is_upgrading:
            return
        self._in_head = False
        version = self._parser.get_http_version()
        self._keep_alive = self._parser.should_keep_alive() and version == "1.1"
        head = Head(self._parser.get_method().decode("latin-1"), self._target.decode("latin-1"), version, self._headers)
        try:
            self._asked = check_head(head, self._guard, self._router)
        except RequestRefusedError as raised:
            self._refuse(raised.refused)
            return
        self._listener.head_is_read(wants_to_go_on="expect" in self._asked[0].headers)

    def on_body(self, body: bytes) -> None:
        """A piece of the body, within its bounds."""
        if self.is_refused:
            return
        if len(self._body) + len(body) > MAX_BODY_BYTES:
            self.refuse(HttpRefusal.BODY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")
        elif not self._listener.hold(len(body)):
            self.refuse(HttpRefusal.BUSY, "too much is being received at once")
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self.is_refused or self._is_upgrading or self._asked is None:
            return
        request, route = self._asked
        request = replace(request, body=bytes(self._body))
        is_head, closing = request.method == "HEAD", not self._keep_alive
        self._await_head()
        exchange = Exchange((request, route), request.media_type, closing, request.path, head_only=is_head)
        self._listener.take(exchange)
