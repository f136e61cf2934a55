"""Mosquitto under the shipped limits, and a device side that fills its queues as fast as it takes them.

The load speaks MQTT itself: a client library would cost more than the broker that is to be filled. A message that the
broker takes and has no subscriber for (reason 16) is an error here.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "server" / "mosquitto.conf"
# Who may connect, and where, is not what is measured; everything else of the shipped file is kept.
_NOT_KEPT = {
    *("listener", "allow_anonymous", "password_file", "acl_file", "persistence_location", "cafile", "certfile"),
    *("keyfile", "tls_version", "require_certificate", "use_identity_as_username", "per_listener_settings", "user"),
}
_UNDER_WAY = 500  # unacknowledged by the broker at a time: half of what it allows
_CONNECT = bytes.fromhex("101b00044d5154540502003c00000e") + b"bench-prefill0"
_PATIENCE_SECONDS = 60.0


class BrokerError(RuntimeError):
    """The broker did not do what a benchmark needs."""


@contextmanager
def mosquitto(folder: Path, port: int) -> Iterator[int]:
    """Run a broker of its own with its files in `folder`; yields its process id."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise BrokerError("Mosquitto is not installed (Debian: apt-get install mosquitto)")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "mosquitto.conf"
    file.write_text(_configuration(folder, port), encoding="utf-8")
    with subprocess.Popen([program, "-c", str(file)], stderr=(folder / "log").open("ab")) as process:
        try:
            _await_listener(process, port, folder / "log")
            yield process.pid
        finally:
            process.kill()  # nothing of it is needed again, and a gentle end would write out its queues


def _configuration(folder: Path, port: int) -> str:
    kept = [line for line in SHIPPED.read_text(encoding="utf-8").splitlines() if line.split(" ")[0] not in _NOT_KEPT]
    ours = [f"listener {port} 127.0.0.1", "allow_anonymous true", f"persistence_location {folder}/"]
    as_root = ["user root"] if os.geteuid() == 0 else []  # or it could not write into this folder
    return "\n".join([*ours, *as_root, *kept]) + "\n"


def _await_listener(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise BrokerError(f"Mosquitto does not listen: {log.read_text(encoding='utf-8')[-1000:]}")


def publish_all(port: int, topic: str, payloads: Sequence[bytes]) -> float:
    """Publish everything at QoS 1 and wait until all is acknowledged; seconds it took."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(_CONNECT)
        packets = _Packets(line)
        if next(packets)[0] != 0x20:
            raise BrokerError("the broker refuses the load's connection")
        for start in range(0, len(payloads), _UNDER_WAY):
            some = payloads[start : start + _UNDER_WAY]
            line.sendall(b"".join(_publish_packets(topic, some)))
            for _ in some:
                _check_puback(next(packets))
        line.sendall(b"\xe0\x00")
    return time.monotonic() - began


def _publish_packets(topic: str, payloads: Iterable[bytes]) -> Iterator[bytes]:
    name = len(topic).to_bytes(2, "big") + topic.encode()
    for number, payload in enumerate(payloads, start=1):
        body = name + number.to_bytes(2, "big") + b"\x00" + payload  # \x00: no properties
        yield b"\x32" + _length(len(body)) + body


def _length(number: int) -> bytes:
    """MQTT's variable byte integer."""
    out = bytearray()
    while True:
        number, low = divmod(number, 128)
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def _check_puback(packet: bytes) -> None:
    reason = packet[4] if len(packet) > 4 else 0
    if packet[0] != 0x40 or reason != 0:
        raise BrokerError(f"the broker answers a report with packet {packet[0]:#x}, reason {reason}")


class _Packets:
    """Whole packets from a connection; those of the load's answers are shorter than 128 bytes."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._buffer = bytearray()
        self._at = 0

    def __next__(self) -> bytes:
        while len(self._buffer) < self._at + 2 or len(self._buffer) < self._at + 2 + self._buffer[self._at + 1]:
            more = self._line.recv(65_536)
            if not more:
                raise BrokerError("the broker closed the load's connection")
            del self._buffer[: self._at]
            self._at = 0
            self._buffer += more
        end = self._at + 2 + self._buffer[self._at + 1]
        packet, self._at = bytes(self._buffer[self._at : end]), end
        return packet


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
