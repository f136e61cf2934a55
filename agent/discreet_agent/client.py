"""A small blocking client for the agent's socket: send one line, read one answer."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from discreet_contract.errors import AgentUnreachableError

if TYPE_CHECKING:
    from pathlib import Path


def ask(path: Path, line: bytes, *, timeout_seconds: float = 10.0) -> dict[str, Any]:
    """Send one JSON line, return the agent's answer. Raises AgentUnreachableError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(path))
            connection.sendall(line.rstrip(b"\n") + b"\n")
            with connection.makefile("rb") as answers:
                answer = answers.readline()
    except OSError as exc:
        hint = "start it with `discreet agent run`, or name its configuration with --config"
        raise AgentUnreachableError(f"no agent answers on {path}: {exc.strerror or exc}", hint=hint) from exc
    if not answer:
        raise AgentUnreachableError(f"the agent on {path} closed the connection", hint="look at its log")
    decoded: dict[str, Any] = json.loads(answer)
    return decoded
