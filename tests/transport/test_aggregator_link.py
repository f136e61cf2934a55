"""The aggregator's connection to a real Mosquitto: what ends it, and what it does not let in."""

import threading
import time
from collections import Counter

import pytest

from brokers import mosquitto, wait_for
from discreet_aggregator.ingest import Connection, IngestSettings
from discreet_aggregator.refusal import RefusalReason
from discreet_contract.broker import Broker, new_client
from discreet_contract.errors import RetryableError
from discreet_contract.wire import reports_topic


class Taking:
    """A pipeline that takes everything."""

    def __init__(self):
        self.taken, self.at_the_door = [], Counter()

    def beacon(self):
        """It says no time."""

    def tend(self):
        """Nothing to tidy up."""

    def process(self, envelopes, at_the_door=None):
        self.taken += envelopes
        self.at_the_door.update(at_the_door or {})
        return []


@pytest.fixture
def port(tmp_path):
    with mosquitto(tmp_path, "allow_anonymous true\nmax_queued_messages 0") as port:
        yield port


def serving(port, pipeline, stop):
    """A thread that serves one connection until told to stop; its trouble is in the list."""
    troubles = []

    def serve():
        settings = IngestSettings(Broker(f"mqtt://127.0.0.1:{port}"), "f", "one name", 10, 0.05)
        connection = Connection(settings, pipeline)
        try:
            with connection:
                connection.serve(stop)
        except RetryableError as exc:
            troubles.append(exc)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread, troubles


def publish(port, payloads):
    client = new_client(Broker(f"mqtt://127.0.0.1:{port}"), "sender")
    client.connect("127.0.0.1", port)
    client.loop_start()
    for payload in payloads:
        client.publish(reports_topic("f"), payload, qos=1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def test_two_machines_of_one_client_id_are_told_so(port):
    """Mosquitto throws one out without a word, for ever in turn: the hint has to say what it may be."""
    first, second = threading.Event(), threading.Event()
    one, troubles = serving(port, Taking(), first)
    time.sleep(0.5)
    other, _ = serving(port, Taking(), second)
    try:
        wait_for(lambda: troubles, "the first one notices")
    finally:
        first.set()
        second.set()
        one.join(10)
        other.join(10)
    assert "client_id" in troubles[0].hint


def test_what_is_far_too_large_blocks_nothing(port):
    """More of them than may be in flight: each is dropped and counted, and what comes behind them arrives."""
    pipeline, stop = Taking(), threading.Event()
    thread, troubles = serving(port, pipeline, stop)
    time.sleep(0.5)
    try:
        publish(port, [bytes(100_000)] * 150 + [b"a report"])
        wait_for(lambda: pipeline.taken, "the report arrives")
    finally:
        stop.set()
        thread.join(10)
    assert pipeline.taken == [b"a report"]
    assert pipeline.at_the_door == {RefusalReason.TOO_LARGE: 150}
    assert troubles == []
