"""The MQTT connection of a device process: publishes envelopes, listens for receipts and for the policy.

paho's network loop runs in its own thread and reconnects with full jitter; callbacks hand
messages to `on_receipts` and `on_policy` and touch nothing else. At most `IN_FLIGHT` publications wait for
their PUBACK, so memory stays bounded when the broker is slow.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any, Self

import structlog

from discreet_contract.beacon import MAX_BEACON_BYTES
from discreet_contract.broker import KEEPALIVE_SECONDS, backoff_seconds, new_client
from discreet_contract.policy.bundle import MAX_BUNDLE_BYTES
from discreet_contract.resend import MAX_RESEND_BYTES
from discreet_contract.wire import policy_topic, receipts_topic, reports_topic, resend_topic, time_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import Client, MQTTMessageInfo

    from discreet_contract.broker import Broker

IN_FLIGHT = 100
MAX_RECEIPTS_BYTES = 65_536  # the largest receipts message is 38 kB
MAX_MESSAGE_BYTES = MAX_BUNDLE_BYTES + 65_536  # a broker drops what is larger before sending it

log = structlog.get_logger()


class MqttLink:
    """One connection under a random client id, a clean session each time. A context manager; `close` is idempotent."""

    def __init__(
        self,
        broker: Broker,
        fleet: str,
        on_receipts: Callable[[bytes], None],
        on_policy: Callable[[bytes], None] | None = None,
        on_time: Callable[[bytes], None] | None = None,
        on_resend: Callable[[bytes], None] | None = None,
    ) -> None:
        self._broker = broker
        self._fleet = fleet
        self._on_receipts = on_receipts
        self._on_policy = on_policy
        self._on_time = on_time
        self._on_resend = on_resend
        self._client: Client | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._in_flight: list[MQTTMessageInfo] = []
        self._buckets: frozenset[str] = frozenset()  # replaced, never changed: two threads read it
        self._ever_connected = False
        self.connected = False
        self.trouble = ""  # why the latest attempt to connect failed; "" while connected

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Connect in the background, and go on trying."""
        if self._thread is not None:
            return
        self._stopping.clear()
        client = new_client(self._broker, f"dsc-{secrets.token_hex(8)}", reconnect_on_failure=False)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.max_inflight_messages_set(IN_FLIGHT)
        client.max_queued_messages_set(2 * IN_FLIGHT)
        self._client = client
        self._thread = threading.Thread(target=self._run, args=(client,), name="mqtt", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Disconnect and forget; nothing is sent afterwards."""
        client, thread, self._client, self._thread = self._client, self._thread, None, None
        if client is None or thread is None:
            return
        self._stopping.set()
        client.disconnect()
        thread.join(timeout=5)
        self.connected = False
        self._in_flight = []

    def listen(self, bucket: str) -> None:
        """Subscribe to a bucket of receipts; on one connection the subscription goes ahead of the report."""
        if bucket in self._buckets:
            return
        self._buckets |= {bucket}
        if self._client is not None and self.connected:
            self._client.subscribe(receipts_topic(self._fleet, bucket), qos=0)

    def publish(self, envelope: bytes) -> bool:
        """Hand one envelope to the broker, QoS 1; False when offline or when too many wait for their PUBACK."""
        client = self._client
        if client is None or not self.connected:
            return False
        if len(self._in_flight) >= IN_FLIGHT:
            self._in_flight = [info for info in self._in_flight if not info.is_published()]
        if len(self._in_flight) >= IN_FLIGHT:
            return False
        info = client.publish(reports_topic(self._fleet), envelope, qos=1)
        if info.rc != 0:  # the connection went away just now; the row is due again later
            return False
        self._in_flight.append(info)
        return True

    def _run(self, client: Client) -> None:
        attempt = 0
        while not self._stopping.is_set():
            try:
                self._connect(client)
                client.loop_forever(retry_first_connection=False)
                attempt = 0 if self._ever_connected else attempt + 1
                self._ever_connected = False
            except (OSError, ValueError) as exc:  # refused, unreachable, TLS failure, a name that is none
                self._note_trouble(f"the broker cannot be reached: {getattr(exc, 'strerror', None) or exc}")
                attempt += 1
            self._stopping.wait(backoff_seconds(attempt))

    def _connected(self, client: Client, _userdata: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._note_trouble(f"the broker refuses the connection: {reason}")
            return
        self.trouble = ""
        self.connected = self._ever_connected = True
        if self._on_policy is not None:
            client.subscribe(policy_topic(self._fleet), qos=1)
        if self._on_time is not None:
            client.subscribe(time_topic(self._fleet), qos=0)
        if self._on_resend is not None:
            client.subscribe(resend_topic(self._fleet), qos=1)
        for bucket in sorted(self._buckets):
            client.subscribe(receipts_topic(self._fleet, bucket), qos=0)

    def _connect(self, client: Client) -> None:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MAX_MESSAGE_BYTES
        broker = self._broker
        client.connect(broker.host, broker.port, KEEPALIVE_SECONDS, clean_start=True, properties=properties)

    def _note_trouble(self, trouble: str) -> None:
        """Say it once, not at every attempt."""
        if trouble != self.trouble:
            log.warning("not connected", problem=trouble, next_step="check [broker] in agent.toml; it is tried again")
        self.trouble = trouble

    def _disconnected(self, *_: Any) -> None:
        self.connected = False

    def _received(self, client: Client, _userdata: Any, message: Any) -> None:
        client.ack(message.mid, message.qos)
        if self._on_policy is not None and message.topic == policy_topic(self._fleet):
            self._on_policy(bytes(message.payload[: MAX_BUNDLE_BYTES + 1]))  # enough to see that it is too large
        elif self._on_time is not None and message.topic == time_topic(self._fleet):
            self._on_time(bytes(message.payload[: MAX_BEACON_BYTES + 1]))
        elif self._on_resend is not None and message.topic == resend_topic(self._fleet):
            self._on_resend(bytes(message.payload[: MAX_RESEND_BYTES + 1]))
        elif len(message.payload) <= MAX_RECEIPTS_BYTES:  # some brokers do not look at the limit
            self._on_receipts(bytes(message.payload))
