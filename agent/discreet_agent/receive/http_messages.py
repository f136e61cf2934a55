"""What goes in and out of the HTTP edge: requests, responses, and the closed list of why a request is refused.

Nothing here prints a value: a message names the rule that was broken (P1). `http_refusals` puts a refusal into the
form that its path's clients know.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol, TypeAlias

import msgspec

from discreet_agent.receive.protobuf_wire import text_field, varint_field
from discreet_agent.senders import ANYONE, Speaker

JSON = "application/json"
PROTOBUF = "application/x-protobuf"

MAX_CONTENT_BYTES = 16 * 1024 * 1024  # of a body after gzip
MAX_GZIP_MEMBERS = 16


class HttpRefusal(StrEnum):
    """Closed list of reasons for which the HTTP edge refuses a request."""

    BAD_REQUEST = "BAD_REQUEST"
    HEAD_TOO_LARGE = "HEAD_TOO_LARGE"
    FOREIGN_HOST = "FOREIGN_HOST"
    FOREIGN_ORIGIN = "FOREIGN_ORIGIN"
    NO_TOKEN = "NO_TOKEN"  # noqa: S105 - a reason, not a secret
    UNKNOWN_TOKEN = "UNKNOWN_TOKEN"  # noqa: S105
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    LENGTH_REQUIRED = "LENGTH_REQUIRED"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    MEDIA_TYPE = "MEDIA_TYPE"
    EXPECTATION = "EXPECTATION"
    TRANSFER_CODING = "TRANSFER_CODING"
    TOO_SLOW = "TOO_SLOW"
    THROTTLED = "THROTTLED"
    BUSY = "BUSY"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status of the answer."""
        return _STATUS[self]


_STATUS = {
    HttpRefusal.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    HttpRefusal.HEAD_TOO_LARGE: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HttpRefusal.FOREIGN_HOST: HTTPStatus.FORBIDDEN,
    HttpRefusal.FOREIGN_ORIGIN: HTTPStatus.FORBIDDEN,
    HttpRefusal.NO_TOKEN: HTTPStatus.UNAUTHORIZED,
    HttpRefusal.UNKNOWN_TOKEN: HTTPStatus.UNAUTHORIZED,
    HttpRefusal.NOT_FOUND: HTTPStatus.NOT_FOUND,
    HttpRefusal.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    HttpRefusal.LENGTH_REQUIRED: HTTPStatus.LENGTH_REQUIRED,
    HttpRefusal.BODY_TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HttpRefusal.MEDIA_TYPE: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HttpRefusal.EXPECTATION: HTTPStatus.EXPECTATION_FAILED,
    HttpRefusal.TRANSFER_CODING: HTTPStatus.NOT_IMPLEMENTED,
    HttpRefusal.TOO_SLOW: HTTPStatus.REQUEST_TIMEOUT,
    HttpRefusal.THROTTLED: HTTPStatus.TOO_MANY_REQUESTS,
    HttpRefusal.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    HttpRefusal.STORE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """A refusal as a value. `message` names the rule that was broken, never what broke it."""

    reason: HttpRefusal
    message: str
    headers: tuple[tuple[str, str], ...] = ()


class RequestRefusedError(Exception):
    """How a check or a handler refuses a request; never leaves the edge, which keeps the value only.

    The exception itself would keep alive whatever its frames held, sixteen megabytes of a body at worst.
    """

    def __init__(self, reason: HttpRefusal, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.refused = RefusedRequest(reason, message, headers)


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One whole request that passed every check of its head. Header names are lower case."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    speaker: Speaker = ANYONE  # who asks, under the policy's `senders`
    tail: str = ""  # what followed the prefix of a route that ends in /*

    def __repr__(self) -> str:
        return f"<Request {self.method} with {len(self.body)} bytes>"

    @property
    def media_type(self) -> str:
        """Media type of the body, without parameters."""
        return media_type(self.headers)

    def content(self) -> bytes:
        """The body, unpacked. Raises RequestRefusedError. Not kept: it may be far larger than what was sent."""
        return inflate(self.body) if self.headers.get("content-encoding", "").lower() == "gzip" else self.body


class Client(Protocol):
    """Who follows a stream."""

    def send(self, content: bytes) -> None:
        """Say more. One that has not taken what was said before is hung up on: nothing is kept for it."""

    def hang_up(self) -> None:
        """That was all."""


Follow: TypeAlias = Callable[[Client], Callable[[], None]]
"""Called when a stream's head is out; returns what is called, once, when its client is gone."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. One with `follow` is a stream: more goes out until either side hangs up."""

    status: HTTPStatus
    media_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    follow: Follow | None = None

    def encode(self, *, closing: bool, head_only: bool) -> bytes:
        """The bytes on the wire."""
        lines = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Date: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime())}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if self.status is not HTTPStatus.NOT_MODIFIED:
            lines.append(f"Content-Type: {self.media_type}")
        if self.status is not HTTPStatus.NOT_MODIFIED and self.follow is None:
            lines.append(f"Content-Length: {len(self.body)}")
        if closing or self.follow is not None:
            lines.append("Connection: close")
        head = "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"
        return head if head_only else head + self.body


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that the edge does. A path that ends in `/*` takes everything under it, given as `tail`."""

    method: str
    path: str
    handler: Handler
    consumes: tuple[str, ...] = ()  # media types of the body; none: a request without a body


def media_type(headers: dict[str, str]) -> str:
    """Media type of a body, without parameters."""
    return headers.get("content-type", "").split(";", 1)[0].strip().lower()


def inflate(body: bytes) -> bytes:
    """Unpack gzip, one member or several; the size is bounded while it grows. Raises RequestRefusedError."""
    parts: list[bytes] = []
    left = MAX_CONTENT_BYTES
    while body:
        if len(parts) == MAX_GZIP_MEMBERS:  # each one copies what follows it
            raise RequestRefusedError(HttpRefusal.BAD_REQUEST, f"more than {MAX_GZIP_MEMBERS} gzip members")
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(body, left + 1)
        except zlib.error as exc:
            raise RequestRefusedError(HttpRefusal.BAD_REQUEST, "the body is not gzip") from exc
        left -= len(part)
        if left < 0:
            raise RequestRefusedError(HttpRefusal.BODY_TOO_LARGE, f"unpacked, over {MAX_CONTENT_BYTES} bytes")
        if not unpacker.eof:
            raise RequestRefusedError(HttpRefusal.BAD_REQUEST, "the gzip body ends too early")
        parts.append(part)
        body = unpacker.unused_data
    return b"".join(parts)


def partial_success(rejected: int, message: str, *, counted_as: str, wanted: str) -> Response:
    """OTLP's answer to a request that was taken: `partial_success` is left out where all of it was."""
    if wanted == PROTOBUF:  # Export…ServiceResponse: partial_success = 1 (rejected = 1, error_message = 2)
        inner = varint_field(1, rejected) + text_field(2, message)
        return Response(HTTPStatus.OK, PROTOBUF, text_field(1, inner) if rejected else b"")
    said = {"partialSuccess": {counted_as: str(rejected), "errorMessage": message}} if rejected else {}
    return Response(HTTPStatus.OK, JSON, msgspec.json.encode(said))
