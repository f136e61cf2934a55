"""The MQTT connection of a device process: publishes envelopes, listens for receipts and for the policy.

paho's network loop runs in its own thread and reconnects with full jitter; callbacks hand
messages to `on_receipts` and `on_policy` and touch nothing else. At most `IN_FLIGHT` publications wait for
their PUBACK, fewer where the broker says so. What an ended connection had not sent is the outbox's to send again.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import structlog

from discreet_contract.beacon import MAX_BEACON_BYTES
from discreet_contract.broker import KEEPALIVE_SECONDS, new_client
from discreet_contract.errors import ConfigError
from discreet_contract.policy.bundle import MAX_BUNDLE_BYTES
from discreet_contract.reconnect import Dialect, Waits, explain_alert, explain_failure, explain_hang_up
from discreet_contract.resend import MAX_RESEND_BYTES
from discreet_contract.wire import policy_topic, receipts_topic, reports_topic, resend_topic, time_topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import Client, MQTTMessageInfo
    from paho.mqtt.properties import Properties

    from discreet_contract.bounded_client import BoundedClient
    from discreet_contract.broker import Broker

IN_FLIGHT = 100
TOPIC_ALIAS = 1  # of the reports topic, the only one that is published to
RECEIVE_MAXIMUM = 4  # what we take unacknowledged: only the policy comes with QoS 1
MAX_RECEIPTS_BYTES = 65_536  # the largest receipts message is 38 kB
MAX_MESSAGE_BYTES = MAX_BUNDLE_BYTES + 65_536  # a broker drops what is larger before sending it; else we hang up

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
        self._stopping = threading.Event()  # of one thread: it may hang when it is closed, and end long after
        self._in_flight: list[MQTTMessageInfo] = []
        self._buckets: frozenset[str] = frozenset()  # replaced, never changed: two threads read it
        self._dialect = Dialect(broker.protocol)
        self._steady_since = 0.0  # monotonic time of the broker's yes to this connection; 0: there was none
        self._refused = False  # by a CONNACK with a reason
        self._window = IN_FLIGHT  # the broker's receive maximum, if that is less
        self._alias_left = False  # whether the broker takes an alias for the topic
        self._alias_known = False
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
        self._stopping = threading.Event()
        client = self._new_client()  # here and not in the thread: a configuration that cannot work is said at once
        self._client = client
        self._thread = threading.Thread(target=self._run, args=(client, self._stopping), name="mqtt", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Disconnect and forget; nothing is sent afterwards."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        self.connected = False
        if (client := self._client) is not None:
            client.disconnect()
        thread.join(timeout=5)
        self._client = None
        self.connected = False
        self._in_flight = []

    def listen(self, bucket: str) -> None:
        """Subscribe to a bucket of receipts; on one connection the subscription goes ahead of the report."""
        if bucket in self._buckets:
            return
        self._buckets |= {bucket}
        if self._client is not None and self.connected:
            self._client.subscribe(receipts_topic(self._fleet, bucket), qos=0)

    def publish(self, envelope: bytes, expires_in_seconds: int | None = None) -> bool:
        """Hand one envelope to the broker, QoS 1; False when offline or when too many wait for their PUBACK.

        A broker of MQTT 5 throws it away `expires_in_seconds` from now, and hands that number on: it must say nothing.
        """
        client = self._client
        if client is None or not self.connected:
            return False
        if len(self._in_flight) >= self._window:
            self._in_flight = [info for info in self._in_flight if not info.is_published()]
        if len(self._in_flight) >= self._window:
            return False
        topic, properties = self._address(expires_in_seconds)
        info = client.publish(topic, envelope, qos=1, properties=properties)
        if info.rc != 0:  # the connection went away just now; the row is due again later
            return False
        self._in_flight.append(info)
        return True

    def _address(self, expires_in_seconds: int | None) -> tuple[str, Properties | None]:
        """Topic and properties of a report: its topic in full once a connection, then as a number of one byte."""
        topic = reports_topic(self._fleet)
        if self._dialect.version != 5:
            return topic, None
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if expires_in_seconds is not None:
            properties.MessageExpiryInterval = min(max(expires_in_seconds, 1), 2**32 - 1)
        if self._alias_left:
            properties.TopicAlias = TOPIC_ALIAS
            topic = "" if self._alias_known else topic
            self._alias_known = True
        return topic, properties

    def _new_client(self) -> BoundedClient:
        """Of one connection: a new random id each, so that a broker cannot tell that it is the same device again."""
        version = self._dialect.choose(time.monotonic())
        client_id = self._broker.client_id or f"dsc-{secrets.token_hex(8)}"
        client = new_client(
            self._broker, client_id, reconnect_on_failure=False, version=version, most_bytes=MAX_MESSAGE_BYTES
        )
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._answered
        client.on_log = self._overheard
        client.max_inflight_messages_set(IN_FLIGHT)
        client.max_queued_messages_set(2 * IN_FLIGHT)
        return client

    def _run(self, first: BoundedClient, stopping: threading.Event) -> None:
        waits = Waits.of(self._broker)
        client: BoundedClient | None = first
        while not stopping.is_set():
            self._steady_since, self._refused = 0.0, False
            try:
                client = client or self._new_client()
                self._client = client
                self._serve(client, stopping)
            except ConfigError as exc:  # a password or certificate that was there at the start
                self._note_trouble(str(exc), exc.hint)
            except (OSError, ValueError) as exc:  # refused, unreachable, TLS failure, a name that is none
                if self._client is client:  # paho was thrown out of its loop, and has not said that it is over
                    self.connected = False
                problem, step = explain_failure(exc)
                self._note_trouble(f"the broker cannot be reached: {problem}", step)
            client = None
            lasted = time.monotonic() - self._steady_since if self._steady_since else 0.0
            stopping.wait(waits.after(lasted))

    def _serve(self, client: BoundedClient, stopping: threading.Event) -> None:
        """One connection, from its CONNECT to its end."""
        self._connect(client)
        if stopping.is_set():  # `close` came before there was anything to disconnect
            client.disconnect()
        client.loop_forever(retry_first_connection=False)
        if client.refused_bytes:
            problem = f"the broker sends a message of {client.refused_bytes} bytes, over {MAX_MESSAGE_BYTES}"
            self._note_trouble(problem, "look who may write its topics")
        if self._steady_since or self._refused or stopping.is_set():
            return
        self._dialect.not_understood(is_said=False)
        if not self.trouble:
            self._note_trouble(*explain_hang_up(self._broker))

    def _connected(self, client: Client, _userdata: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if client is not self._client:  # closed while it hung
            return
        if reason.is_failure:
            self._refused = True
            if reason.getName() == "Unsupported protocol version" and self._dialect.not_understood(is_said=True):
                return
            self._note_trouble(f"the broker refuses the connection: {reason}", "check its account and certificate")
            return
        client.on_log = None  # paho words a line for each message as long as somebody listens
        self._steady_since = time.monotonic()
        self._dialect.accepted(self._steady_since)
        self._window = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
        self._alias_left, self._alias_known = getattr(properties, "TopicAliasMaximum", 0) > 0, False
        self._in_flight = []
        self.trouble = ""
        self._listen(client)
        self.connected = True

    def _listen(self, client: Client) -> None:
        if self._on_policy is not None:
            client.subscribe(policy_topic(self._fleet), qos=1)
        if self._on_time is not None:
            client.subscribe(time_topic(self._fleet), qos=0)
        if self._on_resend is not None:
            client.subscribe(resend_topic(self._fleet), qos=1)
        for bucket in sorted(self._buckets):
            client.subscribe(receipts_topic(self._fleet, bucket), qos=0)

    def _connect(self, client: Client) -> None:
        broker = self._broker
        if self._dialect.version != 5:
            client.connect(broker.host, broker.port, KEEPALIVE_SECONDS)
            return
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MAX_MESSAGE_BYTES
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        client.connect(broker.host, broker.port, KEEPALIVE_SECONDS, clean_start=True, properties=properties)

    def _overheard(self, _client: Client, _userdata: Any, _level: int, text: str) -> None:
        """With TLS 1.3 a broker refuses our certificate after the handshake: only paho's log line has the reason."""
        known = explain_alert(text) if text.startswith("failed to receive") else None
        if known is not None:
            self._refused = True
            self._note_trouble(f"the broker cannot be reached: {known[0]}", known[1])

    def _answered(self, _client: Client, _userdata: Any, _mid: int, reason: Any, _properties: Any) -> None:
        """A PUBACK: success proves nothing, a refusal is worth telling. MQTT 3.1.1 has no word for it."""
        if reason.is_failure:
            self._note_trouble(f"the broker refuses reports: {reason}", "check the broker's access rules")

    def _note_trouble(self, trouble: str, step: str) -> None:
        """Say it once, not at every attempt."""
        if trouble != self.trouble:
            log.warning("trouble with the broker", problem=trouble, next_step=f"{step}; it is tried again")
        self.trouble = trouble

    def _disconnected(self, client: Client, *_: Any) -> None:
        if client is self._client:
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
