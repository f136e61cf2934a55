"""OFREP 0.3: flags for any OpenFeature SDK, one by one or all at once, over the agent's own HTTP edge.

Answers are those of the OpenAPI file, and what the stock Python provider needs beyond it: always `variant`, always
`errorDetails`. No evaluation counts as an exposure. A bulk answer carries a validator; asked again with it, nothing is
evaluated while nothing has changed.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.personal.values import Failure, FlagError, Reason
from discreet_agent.receive.asked import BROKEN, MAX_CONTEXT_BYTES, wrong_context
from discreet_agent.receive.http_messages import JSON, HttpRefusal, RequestRefusedError, Response, Route
from discreet_agent.receive.http_refusals import EVALUATE
from discreet_agent.receive.ofrep_events import EVENTS, INACTIVITY_SECONDS, Changes
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.personal.apps import Apps
    from discreet_agent.personal.values import Answer, Resolution
    from discreet_agent.receive.http_messages import Request

_KNOWN_REASONS = (Reason.STATIC, Reason.TARGETING_MATCH, Reason.SPLIT, Reason.DISABLED)
_KNOWN_ERRORS = (
    FlagError.FLAG_NOT_FOUND,
    FlagError.PARSE_ERROR,
    FlagError.TARGETING_KEY_MISSING,
    FlagError.INVALID_CONTEXT,
)


class _Asked(msgspec.Struct, frozen=True):
    """A request's body; other keys are nobody's business."""

    context: Any = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Asked)
_encoder = msgspec.json.Encoder()


class Ofrep:
    """The three handlers. `changes` tells open streams when it is worth asking again."""

    def __init__(self, apps: Apps, changes: Changes) -> None:
        self._apps = apps
        self._changes = changes
        self._secret = secrets.token_bytes(32)  # a validator says nothing of what it was made from

    def routes(self) -> tuple[Route, ...]:
        """What the HTTP edge serves."""
        return (
            Route("POST", EVALUATE, self.evaluate_all, consumes=(JSON,)),
            Route("POST", f"{EVALUATE}/*", self.evaluate, consumes=(JSON,)),
            Route("GET", EVENTS, self.follow),
        )

    async def evaluate(self, request: Request) -> Response:
        """One flag."""
        key = request.tail
        context = _context_of(_content_of(request))
        if isinstance(context, Failure):
            return _answer(HTTPStatus.BAD_REQUEST, _described(Failure(key, context.code, context.detail)))
        try:
            answer = self._apps.evaluate(key, context, request.speaker)
        except RetryableError as exc:
            raise _unavailable() from exc
        if not isinstance(answer, Failure):
            return _answer(HTTPStatus.OK, _described(answer))
        is_unknown = answer.code is FlagError.FLAG_NOT_FOUND
        return _answer(HTTPStatus.NOT_FOUND if is_unknown else HTTPStatus.BAD_REQUEST, _described(answer))

    async def evaluate_all(self, request: Request) -> Response:
        """Every flag that this app may read, or word that nothing has changed."""
        content = _content_of(request)
        try:
            validator = self._validator(content, request)
            if _is_known(request.headers.get("if-none-match", ""), validator):
                return Response(HTTPStatus.NOT_MODIFIED, JSON, b"", (("ETag", validator),))
            context = _context_of(content)
            if isinstance(context, Failure):
                said = _described(context)
                del said["key"]
                return _answer(HTTPStatus.BAD_REQUEST, said)
            flags = [_described(answer) for answer in self._apps.evaluate_all(context, request.speaker)]
        except RetryableError as exc:
            raise _unavailable() from exc
        url = f"http://{request.headers['host']}{EVENTS}"  # the guard let only our own names through
        stream = {"type": "sse", "url": url, "inactivityDelaySec": INACTIVITY_SECONDS}
        return _answer(HTTPStatus.OK, {"flags": flags, "eventStreams": [stream]}, ("ETag", validator))

    async def follow(self, request: Request) -> Response:
        """A stream of server-sent events. Raises RequestRefusedError where there are too many."""
        return self._changes.begin(request)

    def _validator(self, content: bytes, request: Request) -> str:
        """Over all that the answer depends on; strong, as equal ones mean equal bytes.

        The context goes in as it was written: who writes the same one differently is merely answered in full.
        """
        digest = blake2b(key=self._secret, digest_size=16)
        for part in (self._apps.tag(request.speaker), request.speaker.name, request.headers["host"]):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        digest.update(content)
        return f'"{digest.hexdigest()}"'


def _content_of(request: Request) -> bytes:
    content = request.content()
    if len(content) > MAX_CONTEXT_BYTES:
        message = f"a request for flags has at most {MAX_CONTEXT_BYTES} bytes"
        raise RequestRefusedError(HttpRefusal.BODY_TOO_LARGE, message)
    return content


def _context_of(content: bytes) -> Mapping[str, Any] | Failure:
    """The context, {} where there is none; a key for the failure is the caller's to give."""
    try:
        context = _decoder.decode(content).context
    except BROKEN:
        return Failure("", FlagError.PARSE_ERROR, 'the body is a JSON object: {"context": {…}}')
    broken_rule = wrong_context(context)
    if broken_rule is not None:
        return Failure("", FlagError.INVALID_CONTEXT, broken_rule)
    return {} if context is msgspec.UNSET else context


def _is_known(if_none_match: str, validator: str) -> bool:
    """Whether the client has this answer; some send a validator back without its quotes."""
    if not if_none_match:
        return False
    return validator.strip('"') in {part.strip().removeprefix("W/").strip('"') for part in if_none_match.split(",")}


def _described(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Failure):
        code = answer.code if answer.code in _KNOWN_ERRORS else FlagError.GENERAL
        return {"key": answer.key, "errorCode": code.value, "errorDetails": answer.detail}
    return _resolved(answer)


def _resolved(answer: Resolution) -> dict[str, Any]:
    """Without `value` the app takes its own default; `variant` is there all the same, or the stock provider fails."""
    said: dict[str, Any] = {"key": answer.key, "variant": answer.variant or ""}
    if answer.variant is not None:
        said["value"] = answer.value
    metadata = answer.metadata
    if answer.reason in _KNOWN_REASONS:
        said["reason"] = answer.reason.value
    else:  # OFREP's list lacks DEFAULT; STATIC would say that it never changes
        said["reason"] = "UNKNOWN"
        metadata = metadata | {"reason": answer.reason.value}
    if metadata:
        said["metadata"] = metadata
    return said


def _answer(status: HTTPStatus, said: dict[str, Any], *headers: tuple[str, str]) -> Response:
    return Response(status, JSON, _encoder.encode(said), headers)


def _unavailable() -> RequestRefusedError:
    return RequestRefusedError(HttpRefusal.STORE_UNAVAILABLE, "what this device knows cannot be read now")
