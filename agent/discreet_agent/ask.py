"""What the commands ask over the agent's socket: one answer for each line sent, blocking."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from discreet_contract.errors import AgentUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


LINES_AT_ONCE = 50  # fewer than the agent leaves unanswered before it stops reading


def ask(path: Path, line: bytes, *, timeout_seconds: float = 10.0) -> dict[str, Any]:
    """Send one JSON line, return the agent's answer. Raises AgentUnreachableError."""
    return next(ask_each(path, [line], timeout_seconds=timeout_seconds))


def ask_each(path: Path, lines: Iterable[bytes], *, timeout_seconds: float = 10.0) -> Iterator[dict[str, Any]]:
    """Send lines over one connection, some at a time; one answer a line, in order. Raises AgentUnreachableError."""
    remaining = iter(lines)
    with _connected(path, timeout_seconds) as connection, connection.makefile("rb") as answers:
        while group := list(islice(remaining, LINES_AT_ONCE)):
            connection.sendall(b"".join(line.strip(b"\n") + b"\n" for line in group))
            for _ in group:
                yield _decoded(answers.readline(), path)


def tell(path: Path, lines: Iterable[bytes], *, timeout_seconds: float = 10.0) -> None:
    """Send each line as it comes and read nothing; the first one has said so. Raises AgentUnreachableError."""
    with _connected(path, timeout_seconds) as connection:
        for line in lines:
            connection.sendall(line.strip(b"\n") + b"\n")


@contextmanager
def _connected(path: Path, timeout_seconds: float) -> Iterator[socket.socket]:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(path))
            yield connection
    except PermissionError as exc:
        hint = "join the group of the socket, or run as root; `socket_mode` and `socket_group` say who may"
        raise AgentUnreachableError(f"may not open {path}", hint=hint) from exc
    except OSError as exc:
        hint = "start it with `discreet agent run`, or name its configuration with --config"
        raise AgentUnreachableError(f"no agent answers on {path}: {exc.strerror or exc}", hint=hint) from exc


def _decoded(answer: bytes, path: Path) -> dict[str, Any]:
    if not answer:
        raise AgentUnreachableError(f"the agent on {path} closed the connection", hint="look at its log")
    decoded: dict[str, Any] = json.loads(answer)
    return decoded
