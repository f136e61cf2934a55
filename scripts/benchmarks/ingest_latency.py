"""How long a device waits for its receipt while its fleet sends at a steady pace.

One process publishes reports at QoS 1 and hears all receipts; a report's wait lasts from the moment it is handed to the
connection until the message with its receipt arrives.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ingest_fleet import FLEET

from discreet_contract.broker import Broker, new_client
from discreet_contract.wire import decode_receipts, receipts_topic, reports_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paho.mqtt.client import Client

_PATIENCE_SECONDS = 30.0


def latencies(port: int, reports: Sequence[tuple[bytes, bytes]], per_second: float) -> list[float]:
    """Seconds each (report id, envelope) waited for its receipt. Raises SystemExit where one never comes."""
    sent: dict[bytes, float] = {}
    waited: dict[bytes, float] = {}
    with _Devices(port, sent, waited) as client:
        begin = time.monotonic()
        for number, (report_id, envelope) in enumerate(reports):
            time.sleep(max(0.0, begin + number / per_second - time.monotonic()))
            sent[report_id] = time.monotonic()
            client.publish(reports_topic(FLEET), envelope, qos=1)
        ends = time.monotonic() + _PATIENCE_SECONDS
        while len(waited) < len(reports):
            if time.monotonic() > ends:
                raise SystemExit(f"{len(reports) - len(waited)} of {len(reports)} reports got no receipt")
            time.sleep(0.01)
    return sorted(waited.values())


class _Devices:
    """One connection for all devices; a context manager."""

    def __init__(self, port: int, sent: dict[bytes, float], waited: dict[bytes, float]) -> None:
        self._port = port
        self._granted = threading.Event()
        self._client = new_client(Broker(f"mqtt://127.0.0.1:{port}"), "bench-devices")
        self._client.max_inflight_messages_set(1000)
        self._client.on_connect = lambda client, *_: client.subscribe(receipts_topic(FLEET, "+"), qos=0)
        self._client.on_subscribe = lambda *_: self._granted.set()

        def hear(_client: object, _data: object, message: object) -> None:
            now = time.monotonic()
            for receipt in decode_receipts(bytes(message.payload)):  # type: ignore[attr-defined]
                if receipt.report_id in sent:
                    waited.setdefault(receipt.report_id, now - sent[receipt.report_id])

        self._client.on_message = hear

    def __enter__(self) -> Client:
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        if not self._granted.wait(10):
            raise SystemExit("the broker grants no subscription to receipts")
        return self._client

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
