"""Senders for record.py: a load that keeps lines under way, and a probe that waits for one event's answer at a time.

Lines are encoded before the clock starts, and answers are compared as bytes, so that the sender costs little
beside the agent. Run as a program, this is the probe: python recorder_load.py SOCKET LINE, until standard input ends.
"""

from __future__ import annotations

import json
import random
import select
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PAUSE_SECONDS = 0.01  # between two probes, half to one and a half of it


@dataclass(frozen=True, slots=True)
class Load:
    """Lines of `batch` events each, of which at most `under_way` wait for their answer."""

    lines: Sequence[bytes]
    batch: int
    under_way: int


def drive(path: Path, load: Load) -> tuple[float, float]:
    """Send everything; returns (seconds until the last answer, CPU seconds of this sender). Any refusal is an error."""
    lines, heard, answered, sent = load.lines, bytearray(), 0, 0
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.settimeout(60)
        began, cpu_before = time.perf_counter(), time.process_time()
        while answered < len(lines):
            until = min(len(lines), answered + load.under_way)
            if sent < until:
                connection.sendall(b"".join(lines[sent:until]))
                sent = until
            data = connection.recv(65_536)
            if not data:
                raise SystemExit("the agent hung up")
            heard += data
            answered += data.count(b"\n")
        took, cpu = time.perf_counter() - began, time.process_time() - cpu_before
    if heard != b'{"ok":%d}\n' % load.batch * len(lines):
        bad = next(line for line in heard.splitlines() if line != b'{"ok":%d}' % load.batch)
        raise SystemExit(f"the agent answered {bad[:300]!r}")
    return took, cpu


def lines_of(events: Sequence[bytes], batch: int) -> list[bytes]:
    """Single events as lines of their own, others as batches."""
    if batch == 1:
        return [event + b"\n" for event in events]
    groups = (events[first : first + batch] for first in range(0, len(events), batch))
    return [b'{"events":[' + b",".join(group) + b"]}\n" for group in groups]


def probe(path: str, line: bytes) -> list[float]:
    """Seconds from writing one event to its answer, again and again."""
    stalls: list[float] = []
    rng = random.Random(1)  # noqa: S311 - when to probe is no secret
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        while not select.select([sys.stdin], [], [], PAUSE_SECONDS * rng.uniform(0.5, 1.5))[0]:
            began = time.perf_counter()
            connection.sendall(line)
            if connection.recv(1000) != b'{"ok":1}\n':
                raise SystemExit("a probe was refused")
            stalls.append(time.perf_counter() - began)
    return stalls


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], sys.argv[2].encode() + b"\n")))
