"""Load for an OFREP server: requests over kept connections, one under way on each; how long each took."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

PATH = "/ofrep/v1/evaluate/flags"

_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it goes over the wire, and the status that it must be answered with."""

    path: str
    body: bytes
    headers: tuple[str, ...] = ()
    status: int = 200

    def encode(self, address: str) -> bytes:
        """The bytes."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {address}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(self.body)}", *self.headers, "", ""]
        return "\r\n".join(lines).encode() + self.body


class Kept:
    """A connection that is kept, for one question after the other."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection = connected(address)

    def ask(self, question: Question) -> bytes:
        """The body of its answer."""
        self._connection.sendall(question.encode(self._address))
        return _answer(self._connection)[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def ask(address: str, question: Question) -> tuple[bytes, bytes]:
    """Head and body of one answer, over a connection of its own."""
    with connected(address) as connection:
        connection.sendall(question.encode(address))
        return _answer(connection)


def press(address: str, question: Question, requests: int, connections: int) -> list[float]:
    """Seconds that each request took, in order of size."""
    with ThreadPoolExecutor(connections) as pool:
        shares = pool.map(
            lambda _: _one_after_the_other(address, question, requests // connections), range(connections)
        )
        return sorted(seconds for share in shares for seconds in share)


def _one_after_the_other(address: str, question: Question, requests: int) -> list[float]:
    sent, wanted = question.encode(address), f"HTTP/1.1 {question.status} ".encode()
    took = []
    with connected(address) as connection:
        for _ in range(requests):
            began = time.perf_counter()
            connection.sendall(sent)
            head, body = _answer(connection)
            took.append(time.perf_counter() - began)
            if not head.startswith(wanted):
                raise SystemExit(f"wanted {question.status}, got {head!r} {body!r}")
    return took


def connected(address: str) -> socket.socket:
    """A connection without Nagle's wait."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _answer(connection: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        (line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b"0"
    )
    while len(body) < int(length):
        body += _more(connection)
    return head, body


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    if not received:
        raise SystemExit("the server hung up")
    return received
