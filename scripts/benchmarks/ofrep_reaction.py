"""How soon an event changes what apps get: until OFREP answers otherwise, and until a stream says so."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ofrep_load import PATH, Kept, Question, connected

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 200
FEATURE = {"plays": {"from": "playback.stopped", "aggregate": "count", "window": "7d"}}
FLAG = {
    "odd": {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [{"==": [{"%": [{"var": "features.plays"}, 2]}, 1]}, "on", "off"]},
    }
}
_MARK = b"refetchEvaluation"


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds from the moment at which an event was sent, each in order of size."""

    stored: list[float]  # until its sender was answered
    answered: list[float]  # until OFREP answered otherwise
    streamed: list[float]  # until a stream of changes said so


def with_a_flag_that_flips(policy: dict[str, Any]) -> dict[str, Any]:
    """The policy with a flag that every single event turns."""
    return policy | {"features": policy["features"] | FEATURE, "flags": policy["flags"] | FLAG}


def measure(address: str, path: Path) -> Reaction:
    """One event after the other, each when the last one was seen by all."""
    question = Question(f"{PATH}/odd", b'{"context": {}}')
    rounds: list[tuple[float, float, float]] = []
    with Kept(address) as asking, connected(address) as stream, socket.socket(socket.AF_UNIX) as sender:
        sender.connect(str(path))
        stream.sendall(f"GET /ofrep/v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        _next_change(stream)
        for number in range(ROUNDS):
            before = asking.ask(question)
            began = time.perf_counter()
            sender.sendall(_event(number))
            sender.recv(4096)
            stored = time.perf_counter() - began
            while asking.ask(question) == before:
                pass
            answered = time.perf_counter() - began
            _next_change(stream)
            rounds.append((stored, answered, time.perf_counter() - began))
    return Reaction(*(sorted(kind) for kind in zip(*rounds, strict=True)))


def _event(number: int) -> bytes:
    event = {"signal": "playback.stopped", "version": "1-1-0", "time": time.time_ns() // 1_000_000}
    return json.dumps(event | {"fields": {"genre": "news", "seconds": number % 60}}).encode() + b"\n"


def _next_change(stream: socket.socket) -> None:
    received = b""
    while _MARK not in received:
        received += stream.recv(65_536)
