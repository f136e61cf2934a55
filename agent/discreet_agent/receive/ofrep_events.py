"""Server-sent events: each open stream is told when flags are worth asking for again, and nothing else.

What changed within a few milliseconds is one event. A stream whose app sees no change is told nothing. Streams are few;
one whose client does not read is hung up on (see `Connection.send`); the others are kept alive by comments.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from discreet_agent.receive.http_messages import HttpRefusal, RequestRefusedError, Response
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_agent.personal.apps import Apps
    from discreet_agent.receive.http_messages import Client, Request
    from discreet_agent.senders import Speaker

EVENTS = "/ofrep/v1/events"
EVENT_STREAM = "text/event-stream"

MAX_STREAMS = 16  # of 64 connections, so that events still come in
DEBOUNCE_SECONDS = 0.05
HEARTBEAT_SECONDS = 15.0
INACTIVITY_SECONDS = 120  # for clients: close after so long in the background
RETRY_MS = 2000

_OPENING = f"retry: {RETRY_MS}\n\n".encode()
_HEARTBEAT = b":\n\n"


@dataclass(slots=True)
class _Stream:
    speaker: Speaker
    tag: str  # as of the last event


class Changes:
    """All open streams. `declared` gives the policy's senders: where they change, every client has to ask anew."""

    def __init__(self, apps: Apps, declared: Callable[[], object]) -> None:
        self._apps = apps
        self._declared = declared
        self._streams: dict[Client, _Stream] = {}
        self._senders: object = None
        self._unsubscribe: Callable[[], None] | None = None
        self._due: asyncio.TimerHandle | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._secret = secrets.token_bytes(32)  # tags are told as digests: what they are made of is nobody's business

    def begin(self, request: Request) -> Response:
        """A new stream. Raises RequestRefusedError where there are too many."""
        if len(self._streams) >= MAX_STREAMS:
            raise RequestRefusedError(HttpRefusal.BUSY, f"at most {MAX_STREAMS} streams at once; poll instead")
        try:
            tag = self._apps.tag(request.speaker)
        except RetryableError as exc:
            message = "what this device knows cannot be read now"
            raise RequestRefusedError(HttpRefusal.STORE_UNAVAILABLE, message) from exc
        seen = request.headers.get("last-event-id", "")

        def follow(client: Client) -> Callable[[], None]:
            self._add(client, _Stream(request.speaker, tag))
            if seen != self._digest(tag):  # what changed between the client's question and now is not lost
                client.send(self._event(tag))
            return lambda: self._remove(client)

        return Response(HTTPStatus.OK, EVENT_STREAM, _OPENING, follow=follow)

    def _add(self, client: Client, stream: _Stream) -> None:
        self._streams[client] = stream
        if self._unsubscribe is None:
            self._senders = self._declared()
            self._unsubscribe = self._apps.on_change(self._note)
            self._beat_later()

    def _remove(self, client: Client) -> None:
        self._streams.pop(client, None)
        if self._streams:
            return
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
        for handle in (self._due, self._heartbeat):
            if handle is not None:
                handle.cancel()
        self._due = self._heartbeat = None

    def _note(self) -> None:
        """Something may have changed: tell of it in a moment, together with what else may."""
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(DEBOUNCE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._due = None
        streams = list(self._streams.items())
        if self._declared() != self._senders:  # who is at the other end may be somebody else now, or nobody
            self._senders = self._declared()  # one that is slow to go takes no others with it
            self._streams.clear()
            for client, _ in streams:
                client.hang_up()
            return
        for client, stream in streams:
            try:
                tag = self._apps.tag(stream.speaker)
            except RetryableError:  # whether there is a change cannot be read: asking again tells
                client.hang_up()
                continue
            if tag != stream.tag:
                stream.tag = tag
                client.send(self._event(tag))

    def _beat_later(self) -> None:
        self._heartbeat = asyncio.get_running_loop().call_later(HEARTBEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        self._beat_later()
        for client in list(self._streams):
            client.send(_HEARTBEAT)

    def _event(self, tag: str) -> bytes:
        digest = self._digest(tag)
        data = msgspec.json.encode({"type": "refetchEvaluation", "etag": digest}).decode()
        return f"id: {digest}\nevent: message\ndata: {data}\n\n".encode()

    def _digest(self, tag: str) -> str:
        return blake2b(tag.encode(), key=self._secret, digest_size=12).hexdigest()
