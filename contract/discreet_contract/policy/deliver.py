"""What a broker retains for a fleet, its policy above all: read back before it is called delivered."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from discreet_contract.broker import KEEPALIVE_SECONDS, new_client
from discreet_contract.errors import RetryableError, SignatureRefusedError
from discreet_contract.policy.bundle import read_bundle
from discreet_contract.wire import policy_topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paho.mqtt.client import Client

    from discreet_contract.broker import Broker

PATIENCE_SECONDS = 20.0
PEEK_SECONDS = 2.0


class _Delivery:
    """One connection: publish, wait for the PUBACK, subscribe, compare what the broker retains."""

    def __init__(self, broker: Broker, topic: str, content: bytes) -> None:
        self._topic = topic
        self._content = content
        self._done = threading.Event()
        self.trouble = "the broker does not answer"
        self.client = new_client(broker, f"discreet-publish-{secrets.token_hex(4)}", reconnect_on_failure=False)
        self.client.on_connect = self._connected
        self.client.on_publish = self._published
        self.client.on_subscribe = self._subscribed
        self.client.on_message = self._received

    def wait(self) -> None:
        """Return when the broker has shown that it retains the content. Raises RetryableError with its answer."""
        if not self._done.wait(PATIENCE_SECONDS) or self.trouble:
            hint = "check the address, the account and its access rules; publishing again changes nothing twice"
            raise RetryableError(f"not published: {self.trouble}", hint=hint)

    def _end(self, trouble: str) -> None:
        self.trouble = trouble
        self._done.set()

    def _connected(self, client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._end(f"the broker refuses the connection: {code}")
            return
        self.trouble = "the broker does not confirm the message"
        client.publish(self._topic, self._content, qos=1, retain=True)

    def _published(self, client: Client, _data: Any, _mid: int, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._end(f"the broker refuses the message: {code}; the account needs `topic write {self._topic}`")
            return
        self.trouble = f"the broker does not give back what it should retain; does the account read {self._topic}?"
        client.subscribe(self._topic, qos=1)

    def _subscribed(self, _client: Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._end(f"the broker refuses to show what it retains: {codes[0]}")

    def _received(self, client: Client, _data: Any, message: Any) -> None:
        client.ack(message.mid, message.qos)
        if bytes(message.payload) == self._content:
            self._end("")


class _Peek:
    """One connection: what the broker retains now, or None."""

    def __init__(self, broker: Broker, fleet: str) -> None:
        self._topic = policy_topic(fleet)
        self._answered = threading.Event()
        self.retained: bytes | None = None
        self.client = new_client(broker, f"discreet-peek-{secrets.token_hex(4)}", reconnect_on_failure=False)
        self.client.on_connect = lambda client, *_: client.subscribe(self._topic, qos=1)
        self.client.on_message = self._received

    def wait(self) -> bytes | None:
        """What came within PEEK_SECONDS: a retained message comes at once, nothing comes where there is none."""
        self._answered.wait(PEEK_SECONDS)
        return self.retained

    def _received(self, client: Client, _data: Any, message: Any) -> None:
        client.ack(message.mid, message.qos)
        self.retained = bytes(message.payload)
        self._answered.set()


def publish_retained(broker: Broker, fleet: str, content: bytes) -> None:
    """Make `content` the fleet's retained policy message. Raises RetryableError, ConfigError."""
    retain(broker, policy_topic(fleet), content)


def retain(broker: Broker, topic: str, content: bytes) -> None:
    """Make `content` what the broker retains under a topic. As above."""
    delivery = _Delivery(broker, topic, content)
    with _connected(broker, delivery.client):
        delivery.wait()


def retained_size(broker: Broker, fleet: str) -> int:
    """Releases under the head that the broker retains now, unverified; 0 where it retains none. As above."""
    peek = _Peek(broker, fleet)
    with _connected(broker, peek.client):
        retained = peek.wait()
    try:
        return 0 if retained is None else read_bundle(retained).head.size
    except SignatureRefusedError:  # junk: to be replaced
        return 0


@contextmanager
def _connected(broker: Broker, client: Client) -> Iterator[None]:
    try:
        client.connect(broker.host, broker.port, KEEPALIVE_SECONDS, clean_start=True)
    except (OSError, ValueError) as exc:
        where = f"broker {broker.host}:{broker.port}"
        raise RetryableError(
            f"{where}: {getattr(exc, 'strerror', None) or exc}", hint="is the broker running?"
        ) from exc
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()
