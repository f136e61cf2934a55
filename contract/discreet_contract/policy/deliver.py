"""Publishing a bundle: the fleet's retained policy message, read back from the broker before it is called delivered."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any

from discreet_contract.broker import KEEPALIVE_SECONDS, new_client
from discreet_contract.errors import RetryableError
from discreet_contract.wire import policy_topic

if TYPE_CHECKING:
    from paho.mqtt.client import Client

    from discreet_contract.broker import Broker

PATIENCE_SECONDS = 20.0


class _Delivery:
    """One connection: publish, wait for the PUBACK, subscribe, compare what the broker retains."""

    def __init__(self, broker: Broker, fleet: str, content: bytes) -> None:
        self._topic = policy_topic(fleet)
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


def publish_retained(broker: Broker, fleet: str, content: bytes) -> None:
    """Make `content` the fleet's retained policy message. Raises RetryableError, ConfigError."""
    delivery = _Delivery(broker, fleet, content)
    try:
        delivery.client.connect(broker.host, broker.port, KEEPALIVE_SECONDS, clean_start=True)
    except (OSError, ValueError) as exc:
        where = f"broker {broker.host}:{broker.port}"
        raise RetryableError(
            f"{where}: {getattr(exc, 'strerror', None) or exc}", hint="is the broker running?"
        ) from exc
    delivery.client.loop_start()
    try:
        delivery.wait()
    finally:
        delivery.client.disconnect()
        delivery.client.loop_stop()
