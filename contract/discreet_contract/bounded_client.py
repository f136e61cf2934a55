"""An MQTT client that ends the connection before it reads a message that is too large.

MQTT 5 lets a client say how much it takes, MQTT 3.1.1 does not, and a broker need not keep to it. paho reads what
comes, up to 256 MB, and copies it twice: more memory than a device has.
"""

from __future__ import annotations

from typing import Any

from paho.mqtt.client import Client


class BoundedClient(Client):
    """For messages of `most_bytes` at most; `refused_bytes` is the size of the one that ended the connection."""

    def __init__(self, *args: Any, most_bytes: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._most_bytes = most_bytes
        self.refused_bytes = 0

    def _sock_recv(self, bufsize: int) -> bytes:
        """Paho asks for all that is left of a message, so this is where its size is first known."""
        if bufsize > self._most_bytes:
            self.refused_bytes = bufsize
            raise ConnectionError(f"a message of {bufsize} bytes")
        return super()._sock_recv(bufsize)
