"""What apps read and report over HTTP beside OFREP: features, scores, segments, explanations, exposures and outcomes.

A name outside an app's scopes is answered like one that does not exist. `docs/serving.md` shows every request.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_agent.event import Batch
from discreet_agent.personal.values import Failure, FlagError
from discreet_agent.receive.asked import (
    BROKEN,
    MAX_CONTEXT_BYTES,
    MAX_EXPOSURES,
    ReportedExposure,
    exposures_of,
    wrong_context,
)
from discreet_agent.receive.connection import verdicts
from discreet_agent.receive.http_messages import JSON, HttpRefusal, RequestRefusedError, Response, Route
from discreet_agent.receive.lines import decode_event
from discreet_agent.receive.told import exposures_told, failure_told, features_told, scores_told, segments_told
from discreet_agent.senders import screen
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from discreet_agent.event import Refused
    from discreet_agent.personal.apps import Apps
    from discreet_agent.receive.http_messages import Request

    Commit = Callable[[Batch], Awaitable[Sequence[Refused | None]]]

MAX_TRACKED_EVENTS = 1000
MAX_TRACKED_BYTES = 1_048_576  # as long as a line of the socket: decoded it may take fifty times as much


class _Asked(msgspec.Struct, frozen=True):
    context: Any = msgspec.UNSET


class _Tracked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    exposures: list[ReportedExposure] = []
    events: list[msgspec.Raw] = []


_asked_decoder = msgspec.json.Decoder(_Asked)
_tracked_decoder = msgspec.json.Decoder(_Tracked)


class PersonalHttp:
    """The handlers. `commit` stores events with those of all other ways in."""

    def __init__(self, apps: Apps, commit: Commit) -> None:
        self._apps = apps
        self._commit = commit

    def routes(self) -> tuple[Route, ...]:
        """What the HTTP edge serves."""
        return (
            Route("GET", "/v1/features", self.features),
            Route("GET", "/v1/features/*", self.feature),
            Route("GET", "/v1/segments", self.segments),
            Route("GET", "/v1/scores", self.scores),
            Route("GET", "/v1/explain/*", self.explain),
            Route("POST", "/v1/explain/*", self.explain, consumes=(JSON,)),
            Route("POST", "/v1/track", self.track, consumes=(JSON,)),
        )

    async def features(self, request: Request) -> Response:
        """All that this app may read."""
        return _said({"features": features_told(self._ask(lambda: self._apps.features(request.speaker)))})

    async def feature(self, request: Request) -> Response:
        """One."""
        found = self._ask(lambda: self._apps.features(request.speaker))
        told = features_told(feature for feature in found if feature.name == request.tail)
        if not told:
            return _said({"error": "NOT_FOUND", "detail": "no such feature"}, HTTPStatus.NOT_FOUND)
        return _said({"name": request.tail} | told[request.tail])

    async def segments(self, request: Request) -> Response:
        """All that this app may read."""
        return _said({"segments": segments_told(self._ask(lambda: self._apps.segments(request.speaker)))})

    async def scores(self, request: Request) -> Response:
        """All that this app may read."""
        return _said({"scores": scores_told(self._ask(lambda: self._apps.scores(request.speaker)))})

    async def explain(self, request: Request) -> Response:
        """Why a flag has its value. GET asks without a context: a query string would end up in logs."""
        context = _context_of(request) if request.method == "POST" else {}
        answer = self._ask(lambda: self._apps.explain(request.tail, context, request.speaker))
        if not isinstance(answer, Failure):
            return _said(answer)
        is_unknown = answer.code is FlagError.FLAG_NOT_FOUND
        return _said(failure_told(answer), HTTPStatus.NOT_FOUND if is_unknown else HTTPStatus.BAD_REQUEST)

    async def track(self, request: Request) -> Response:
        """Exposures, then events: durable when answered. Where exposures cannot be stored now, nothing is."""
        tracked = _tracked_of(request)
        exposures = exposures_of(tracked.exposures)
        seen = self._ask(lambda: self._apps.track(exposures, request.speaker)) if exposures else []
        items = [decode_event(raw) for raw in tracked.events]
        batch = Batch(request.speaker.name, screen(request.speaker, items))
        outcomes = await self._commit(batch) if items else []
        return _said({"exposures": exposures_told(exposures, seen), "events": verdicts(outcomes)})

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except RetryableError as exc:
            raise RequestRefusedError(HttpRefusal.STORE_UNAVAILABLE, "the device's store cannot be used now") from exc


def _context_of(request: Request) -> dict[str, Any]:
    content = request.content()
    if len(content) > MAX_CONTEXT_BYTES:
        raise RequestRefusedError(HttpRefusal.BODY_TOO_LARGE, f"at most {MAX_CONTEXT_BYTES} bytes are a context")
    try:
        context = _asked_decoder.decode(content).context
    except BROKEN:
        raise RequestRefusedError(HttpRefusal.BAD_REQUEST, 'the body is a JSON object: {"context": {…}}') from None
    broken_rule = wrong_context(context)
    if broken_rule is not None:
        raise RequestRefusedError(HttpRefusal.BAD_REQUEST, broken_rule)
    return {} if context is msgspec.UNSET else context


def _tracked_of(request: Request) -> _Tracked:
    content = request.content()
    if len(content) > MAX_TRACKED_BYTES:
        raise RequestRefusedError(HttpRefusal.BODY_TOO_LARGE, f"at most {MAX_TRACKED_BYTES} bytes at once")
    try:
        tracked = _tracked_decoder.decode(content)
    except BROKEN:
        rule = 'the body is {"exposures": [{"flag": "…", "variant": "…", "count": 1}], "events": [event lines]}'
        raise RequestRefusedError(HttpRefusal.BAD_REQUEST, rule) from None
    if len(tracked.exposures) > MAX_EXPOSURES or len(tracked.events) > MAX_TRACKED_EVENTS:
        rule = f"at most {MAX_EXPOSURES} exposures and {MAX_TRACKED_EVENTS} events at once"
        raise RequestRefusedError(HttpRefusal.BAD_REQUEST, rule)
    return tracked


def _said(said: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(status, JSON, msgspec.json.encode(said))
