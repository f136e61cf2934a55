"""A refused request → the answer in the form that its path's clients know.

OTLP's get a `google.rpc.Status`, in protobuf where the request was; OFREP's what its OpenAPI file says, which has fewer
status codes; our own paths what the socket answers: `{"error": reason, "detail": rule}`.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import unquote

import msgspec

from discreet_agent.receive.http_messages import JSON, PROTOBUF, HttpRefusal, RefusedRequest, Response
from discreet_agent.receive.protobuf_wire import text_field

OFREP = "/ofrep/"
EVALUATE = "/ofrep/v1/evaluate/flags"
OWN = ("/v1/features", "/v1/segments", "/v1/scores", "/v1/explain", "/v1/track")

_RETRY_AFTER_SECONDS = {HttpRefusal.THROTTLED: 10, HttpRefusal.BUSY: 1, HttpRefusal.STORE_UNAVAILABLE: 5}
_OFREP_STATUS = {  # OFREP knows these and 405; whatever else is wrong with a request makes it a bad one
    HttpRefusal.FOREIGN_HOST: HTTPStatus.FORBIDDEN,
    HttpRefusal.FOREIGN_ORIGIN: HTTPStatus.FORBIDDEN,
    HttpRefusal.NO_TOKEN: HTTPStatus.UNAUTHORIZED,
    HttpRefusal.UNKNOWN_TOKEN: HTTPStatus.UNAUTHORIZED,
    HttpRefusal.NOT_FOUND: HTTPStatus.NOT_FOUND,
    HttpRefusal.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    HttpRefusal.THROTTLED: HTTPStatus.TOO_MANY_REQUESTS,
    HttpRefusal.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    HttpRefusal.STORE_UNAVAILABLE: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def refusal_response(refused: RefusedRequest, wanted: str, path: str) -> Response:
    """The answer to a refused request; `wanted` is the media type that it came in."""
    if path.startswith(OFREP):
        return _ofrep(refused, path)
    if path.startswith(OWN):
        said = {"error": refused.reason.value, "detail": refused.message}
        return Response(refused.reason.status, JSON, msgspec.json.encode(said), _headers(refused))
    return _rpc_status(refused, wanted)


def _headers(refused: RefusedRequest) -> tuple[tuple[str, str], ...]:
    wait = _RETRY_AFTER_SECONDS.get(refused.reason)
    return refused.headers if wait is None else (*refused.headers, ("Retry-After", str(wait)))


def _ofrep(refused: RefusedRequest, path: str) -> Response:
    """Every body carries `errorDetails`, without which the stock Python provider fails on its own."""
    status = _OFREP_STATUS.get(refused.reason, HTTPStatus.BAD_REQUEST)
    code = "PARSE_ERROR" if status is HTTPStatus.BAD_REQUEST else "GENERAL"
    said = {"errorCode": code, "errorDetails": f"{refused.reason.value}: {refused.message}"}
    if path.startswith(f"{EVALUATE}/"):
        said = {"key": unquote(path.removeprefix(f"{EVALUATE}/"))} | said
    return Response(status, JSON, msgspec.json.encode(said), _headers(refused))


def _rpc_status(refused: RefusedRequest, wanted: str) -> Response:
    reason, message = refused.reason, f"{refused.reason.value}: {refused.message}"
    headers = _headers(refused)
    is_bad_data = reason is HttpRefusal.BAD_REQUEST
    if wanted == PROTOBUF:
        return Response(reason.status, PROTOBUF, _status_protobuf(message, is_bad_data=is_bad_data), headers)
    status: dict[str, object] = {"message": message}
    if is_bad_data:
        violation = {"field": "request", "description": message}
        status["details"] = [{"@type": _BAD_REQUEST, "fieldViolations": [violation]}]
    return Response(reason.status, JSON, msgspec.json.encode(status), headers)


def _status_protobuf(message: str, *, is_bad_data: bool) -> bytes:
    """google.rpc.Status: message = 2, details = 3 (google.protobuf.Any: type_url = 1, value = 2)."""
    status = text_field(2, message)
    if is_bad_data:  # google.rpc.BadRequest: field_violations = 1 (field = 1, description = 2)
        violation = text_field(1, "request") + text_field(2, message)
        status += text_field(3, text_field(1, _BAD_REQUEST) + text_field(2, text_field(1, violation)))
    return status
