"""The MQTT edge: messages in, batches to the pipeline, receipts out, acknowledgements last.

One thread reads the network and runs the pipeline in turn. What is pending lives and dies
with one connection, so a message of an earlier connection can never be acknowledged on a
later one; the broker or the device sends it again, and the pipeline knows it.
"""

from __future__ import annotations

import select
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog

from discreet_aggregator.refusal import RefusalReason
from discreet_contract.broker import KEEPALIVE_SECONDS, backoff_seconds, new_client
from discreet_contract.errors import RetryableError
from discreet_contract.wire import reports_topic, time_topic

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from typing import Any

    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import MQTTErrorCode

    from discreet_aggregator.pipeline import Pipeline
    from discreet_contract.broker import Broker

SHARE = "discreet"  # name of the group of workers that each report goes to one of
SESSION_EXPIRY_SECONDS = 7 * 86_400  # a week's outage: longer ones are bridged by the devices' own outboxes
MAX_MESSAGE_BYTES = 8192  # twice the largest envelope: what is larger is dropped, and counted
_IDLE_SECONDS = 0.2  # how long a stop signal may wait
_ANSWER_SECONDS = 10.0
BEACON_SECONDS = 300.0  # how stale the retained time may be; devices believe their own clock for a day

_AWAY = "is the broker running?"
_LOST = f"{_AWAY} If it is, and this goes on: does another aggregator have this `client_id`?"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How to connect and how much to take at once."""

    broker: Broker
    fleet: str
    client_id: str
    batch: int
    flush_seconds: float
    beacon: Callable[[], bytes | None] = lambda: None  # says what time it is; None: nothing to say it with
    is_shared: bool = False  # each report goes to one of several workers
    tell: Callable[..., None] = lambda **_: None  # `is_connected`: whether the broker sends us reports now

    @property
    def in_flight(self) -> int:
        """Messages that wait here at the most: twice a batch, lest it waits for more than the broker may send."""
        return min(65_535, max(2 * self.batch, 100))

    @property
    def subscription(self) -> str:
        """The topic filter of the fleet's reports."""
        topic = reports_topic(self.fleet)
        return f"$share/{SHARE}/{topic}" if self.is_shared else topic


class _Arrival(NamedTuple):
    mid: int
    qos: int
    envelope: bytes
    refused: RefusalReason | None  # at the door; the envelope is then empty


class Connection:
    """One connection to the broker and what arrived on it. A context manager."""

    def __init__(self, settings: IngestSettings, pipeline: Pipeline) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._pending: list[_Arrival] = []
        self._first_at = 0.0  # monotonic time of the oldest pending arrival
        self._last_at = 0.0
        self._retry_at = 0.0
        self._failures = 0  # of the store, in a row
        self._overflown = 0  # messages that found no room, not counted in the store yet
        self.was_ready = False  # whether the broker granted the subscription
        self._trouble = ""
        self._beacon_at = 0.0
        self._client = self._new_client()

    def __enter__(self) -> Self:
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_SECONDS
        properties.ReceiveMaximum = self._settings.in_flight
        # No MaximumPacketSize: Mosquitto (2.0.11) counts what it then keeps for itself as in flight, for ever.
        broker = self._settings.broker
        try:
            self._client.connect(
                broker.host, broker.port, keepalive=KEEPALIVE_SECONDS, clean_start=False, properties=properties
            )
        except (OSError, ValueError) as exc:
            raise RetryableError(f"broker {broker.host}:{broker.port}: {exc}", hint=_AWAY) from exc
        return self

    def __exit__(self, *_: object) -> None:
        self._settings.tell(is_connected=False)
        self._client.disconnect()

    def serve(self, stop: threading.Event) -> None:
        """Take messages until told to stop, then finish what arrived. Raises RetryableError when the line is lost."""
        self._last_at = time.monotonic()
        while not stop.is_set():
            self._read(self._patience())
            self._check_answered()
            self._say_time()
            if self._is_due():
                self._flush()
            self._tend()
        while self._pending and self._flush():
            pass
        while self._client.want_write():
            self._read(_IDLE_SECONDS)

    def _patience(self) -> float:
        """How long to wait for the next message before looking at the clock again."""
        if not self._pending:
            return _IDLE_SECONDS
        return self._settings.flush_seconds / 10

    def _is_due(self) -> bool:
        """A batch is due when it is full or old, or when no more comes: some brokers send only a few unacknowledged."""
        now = time.monotonic()
        if not self._pending or now < self._retry_at:
            return False
        flush = self._settings.flush_seconds
        full = len(self._pending) >= self._settings.batch
        return full or now - self._first_at >= flush or now - self._last_at >= flush / 10

    def _flush(self) -> bool:
        """Commit one batch, then publish its receipts, then acknowledge in order of arrival; whether that worked."""
        batch = self._pending[: self._settings.batch]
        door = Counter(one.refused for one in batch if one.refused is not None)
        if self._overflown:
            door[RefusalReason.OVERFLOW] = self._overflown
        try:
            messages = self._pipeline.process([one.envelope for one in batch if one.refused is None], door)
        except RetryableError as exc:
            self._postpone(exc)
            return False
        self._failures = self._overflown = 0
        del self._pending[: len(batch)]
        for message in messages:
            self._client.publish(message.topic, message.payload, qos=0)
        for one in batch:
            self._client.ack(one.mid, one.qos)
        self._first_at = time.monotonic()
        return True

    def _tend(self) -> None:
        """Once receipts and acknowledgements are out: one piece of tidying up."""
        if time.monotonic() < self._retry_at:
            return
        try:
            self._pipeline.tend()
        except RetryableError as exc:
            self._postpone(exc)

    def _postpone(self, trouble: RetryableError) -> None:
        """Keep the batch, unacknowledged: the broker's in-flight window holds back the rest meanwhile."""
        wait = backoff_seconds(self._failures, cap=10.0)
        self._failures += 1
        self._retry_at = time.monotonic() + wait
        _log.warning("batch postponed", error=str(trouble), hint=trouble.hint, retry_seconds=round(wait, 2))

    def _read(self, timeout_seconds: float) -> None:
        """Wait until something can be read or written, then take all that has arrived, up to a batch.

        paho's own `loop` would wait anew for every message, which costs as much as reading it (measured: a quarter
        of what taking a message costs).
        """
        from paho.mqtt.client import MQTT_ERR_SUCCESS

        client, line = self._client, self._client.socket()
        if line is None:
            raise self._lost("closed")
        has_more = isinstance(line, ssl.SSLSocket) and line.pending() > 0  # decrypted already: `select` cannot see it
        wanting = [line] if client.want_write() else []
        readable, writable, _ = select.select([line], wanting, [], 0 if has_more else timeout_seconds)
        code = self._read_arrived() if readable or has_more else MQTT_ERR_SUCCESS
        if writable and code == MQTT_ERR_SUCCESS:
            code = client.loop_write()
        if code == MQTT_ERR_SUCCESS:
            code = client.loop_misc()
        if self._trouble or code != MQTT_ERR_SUCCESS:
            raise self._lost(code.name)

    def _read_arrived(self) -> MQTTErrorCode:
        """Read until a read brings no message: the line is empty, or that was an answer and the caller asks again."""
        while True:
            before = len(self._pending)
            code = self._client.loop_read()
            if code or not before < len(self._pending) < self._settings.batch:
                return code

    def _lost(self, how: str) -> RetryableError:
        return RetryableError(self._trouble or f"connection lost ({how})", hint=_LOST)

    def _check_answered(self) -> None:
        # Not waited for before serving: a broker may hold its answer back until the session's backlog is acknowledged.
        if not self.was_ready and time.monotonic() - self._last_at > _ANSWER_SECONDS:
            raise RetryableError("the broker does not answer", hint="check `[broker] url` and the broker's log")

    def _say_time(self) -> None:
        if not self.was_ready or time.monotonic() < self._beacon_at:
            return
        self._beacon_at = time.monotonic() + BEACON_SECONDS
        beacon = self._settings.beacon()
        if beacon is not None:
            self._client.publish(time_topic(self._settings.fleet), beacon, qos=0, retain=True)

    def _new_client(self) -> Client:
        client = new_client(self._settings.broker, self._settings.client_id)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._trouble = f"the broker refuses the connection: {code}"
            return
        from paho.mqtt.subscribeoptions import SubscribeOptions

        # A report is never retained: the broker is asked to send none, and one that comes all the same is refused.
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        client.subscribe(self._settings.subscription, options=options)

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, codes: Any, _properties: Any) -> None:
        if any(code.is_failure for code in codes):
            self._trouble = f"the broker refuses the subscription to the fleet's reports: {codes[0]}"
            return
        self.was_ready = True
        self._settings.tell(is_connected=True)
        _log.info("ready", broker=f"{self._settings.broker.host}:{self._settings.broker.port}")

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        refused = None
        if message.retain:
            refused = RefusalReason.RETAINED
        elif len(message.payload) > MAX_MESSAGE_BYTES:
            refused = RefusalReason.TOO_LARGE
        if message.qos == 0 and len(self._pending) >= self._settings.in_flight:
            self._overflown += 1  # the broker holds back no others: while the store is away, they would take all memory
            return
        self._last_at = time.monotonic()
        if not self._pending:
            self._first_at = self._last_at
        self._pending.append(_Arrival(message.mid, message.qos, b"" if refused else bytes(message.payload), refused))


def ingest(settings: IngestSettings, pipeline: Pipeline, stop: threading.Event) -> None:
    """Serve one connection after the other until told to stop; full-jitter back-off between them."""
    attempt = 0
    while not stop.is_set():
        connection = Connection(settings, pipeline)
        try:
            with connection:
                connection.serve(stop)
        except RetryableError as exc:
            if connection.was_ready:
                attempt = 0
            wait = backoff_seconds(attempt)
            attempt += 1
            _log.warning("broker away", error=str(exc), hint=exc.hint, retry_seconds=round(wait, 2))
            stop.wait(wait)
