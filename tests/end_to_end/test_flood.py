"""Programs that mean harm on every connection at once: the daemon's memory stays bounded, and others are served."""

import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deployment import Deployment
from discreet_agent.ask import ask
from discreet_agent.receive.bounds import MAX_CONNECTIONS

MIB = 2**20
SECONDS = 4
EVENT = {"signal": "door.opened", "version": "1-0-0", "fields": {"seconds": 1, "side": "left"}}
MANY_FIELDS = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {f"{n:x}": 1 for n in range(250)}}
FLOODS = [
    (json.dumps({"events": [MANY_FIELDS] * 330}, separators=(",", ":")) + "\n").encode(),  # the most objects a byte
    b'{"events":[' + b",".join([b"1"] * 10_000) + b"]}\n",  # the most answer a byte; it is not read
    b"x" * MIB,  # never a line's end
    b"\n".join([b"[" * 1000] * 1000),
]


@pytest.fixture
def deployment(tmp_path):
    """Without its broker: taking events needs none."""
    deployment = Deployment(tmp_path, "embedded")
    yield deployment
    deployment.close()


def peak_bytes(process):
    """Largest resident size so far."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def flood(path, content):
    """Send this again and again, read nothing; whatever becomes of it."""
    end = time.monotonic() + SECONDS
    with suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(0.2)
        peer.connect(str(path))
        at = 0
        while time.monotonic() < end:
            with suppress(TimeoutError):
                at = (at + peer.send(memoryview(content)[at:])) % len(content)


def test_memory_is_bounded_and_others_are_served(deployment):
    """32 MiB on the wire's side, one group decoded, and what Python keeps of all that: less than 64 MiB."""
    process = deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent listens")
    assert ask(deployment.socket, json.dumps(EVENT | {"time": time.time_ns() // 1_000_000}).encode()) == {"ok": 1}
    before = peak_bytes(process)
    threads = [
        threading.Thread(target=flood, args=(deployment.socket, FLOODS[number % len(FLOODS)]))
        for number in range(MAX_CONNECTIONS - 1)
    ]
    for thread in threads:
        thread.start()
    line = json.dumps(EVENT | {"time": time.time_ns() // 1_000_000}).encode()
    served = []
    while any(thread.is_alive() for thread in threads):
        served.append(ask(deployment.socket, line, timeout_seconds=20))
    for thread in threads:
        thread.join()

    assert served
    assert all(answer == {"ok": 1} for answer in served)
    assert peak_bytes(process) - before < 64 * MIB
    assert deployment.status()["state"] == "on"
