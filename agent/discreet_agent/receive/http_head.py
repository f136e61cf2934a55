"""A request's head → the request and its route, or why it is refused before anything of its body is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from discreet_agent.receive.http_messages import HttpRefusal, Request, RequestRefusedError, Route, media_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from discreet_agent.receive.http_guard import Guard

MAX_BODY_BYTES = 4 * 1024 * 1024  # as sent

_ONCE = {"host", "origin", "content-type", "content-encoding", "authorization", "expect", "transfer-encoding"}
_TARGET = re.compile(r"/[\x21-\x7e]*")


@dataclass(frozen=True, slots=True, repr=False)
class Head:
    """What the parser read. Header names are lower case."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]


class Router:
    """Paths and methods → routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._routes.setdefault(route.path, {})[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, str]:
        """The route, and what followed its prefix where it takes everything under one. Raises RequestRefusedError."""
        methods, tail = self._methods_at(path)
        if not methods:
            raise RequestRefusedError(HttpRefusal.NOT_FOUND, "nothing is served under this path")
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
            raise RequestRefusedError(HttpRefusal.METHOD_NOT_ALLOWED, f"allowed: {allowed}", (("Allow", allowed),))
        return route, tail

    def _methods_at(self, path: str) -> tuple[dict[str, Route], str]:
        if path in self._routes:
            return self._routes[path], ""
        cut = len(path)
        while (cut := path.rfind("/", 0, cut)) >= 0:
            found = self._routes.get(f"{path[:cut]}/*")
            if found is not None:
                return found, unquote(path[cut + 1 :])
        return {}, ""


def check_head(head: Head, guard: Guard, router: Router) -> tuple[Request, Route]:
    """The request, still without its body, and its route. Raises RequestRefusedError."""
    if head.version not in ("1.0", "1.1"):
        raise RequestRefusedError(HttpRefusal.BAD_REQUEST, "only HTTP/1.1 is spoken here")
    if not _TARGET.fullmatch(head.target):
        raise RequestRefusedError(HttpRefusal.BAD_REQUEST, "the request's target is a path")
    headers = _joined(head.headers)
    speaker = guard.admit(headers)
    path, _, query = head.target.partition("?")
    route, tail = router.find(head.method, path)
    _check_body(headers, route)
    return Request(head.method, path, query, headers, b"", speaker, tail), route


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        if name in joined and name in _ONCE:
            raise RequestRefusedError(HttpRefusal.BAD_REQUEST, f"`{name}` stands twice")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _check_body(headers: dict[str, str], route: Route) -> None:
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and coding.lower() != "chunked":
        raise RequestRefusedError(HttpRefusal.TRANSFER_CODING, "the only transfer coding taken is `chunked`")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise RequestRefusedError(HttpRefusal.EXPECTATION, "the only expectation met is `100-continue`")
    if route.consumes:
        _check_kind(headers, route)
        if coding is None and length is None:
            raise RequestRefusedError(HttpRefusal.LENGTH_REQUIRED, "send `Content-Length`, or chunks")
    if length is not None and int(length) > MAX_BODY_BYTES:
        raise RequestRefusedError(HttpRefusal.BODY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes")


def _check_kind(headers: dict[str, str], route: Route) -> None:
    if media_type(headers) not in route.consumes:
        kinds = ", ".join(route.consumes)
        raise RequestRefusedError(HttpRefusal.MEDIA_TYPE, f"`Content-Type` is one of {kinds}", (("Accept", kinds),))
    if headers.get("content-encoding", "identity").lower() not in ("gzip", "identity"):
        accepted = (("Accept-Encoding", "gzip"),)
        raise RequestRefusedError(HttpRefusal.MEDIA_TYPE, "`Content-Encoding` is gzip, or there is none", accepted)
