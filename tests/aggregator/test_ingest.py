"""The MQTT edge in this process, beside a real broker; only the faults are ours."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from discreet_aggregator.board import Board
from discreet_aggregator.config import load_config
from discreet_aggregator.ingest import Connection, IngestSettings
from discreet_aggregator.refusal import RefusalReason
from discreet_aggregator.worker import supervise
from discreet_contract.broker import Broker
from discreet_contract.errors import RetryableError, StoreError
from discreet_contract.wire import reports_topic

BOARD = Board.made()  # nobody reads it here


class Stumbling:
    """A pipeline that fails as told before it takes a batch; notes what it was given each time."""

    def __init__(self, *faults):
        self.faults = list(faults)
        self.batches = []
        self.at_the_door = {}

    def beacon(self):
        """It says no time."""

    def tend(self):
        """Nothing to tidy up."""

    def process(self, envelopes, at_the_door=None):
        self.batches.append(list(envelopes))
        if self.faults:
            raise self.faults.pop(0)
        self.at_the_door = dict(at_the_door or {})
        return []


@pytest.fixture
def port():
    """A port with an embedded broker on it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    discreet = str(Path(sys.executable).with_name("discreet"))
    child = subprocess.Popen([discreet, "aggregator", "dev-broker", "--port", str(number)])
    try:
        wait_for(lambda: listens(number))
        yield number
    finally:
        child.kill()
        child.wait(10)


@pytest.fixture
def publish(port):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    yield lambda payload: client.publish(reports_topic("test-fleet"), payload, qos=1)
    client.disconnect()
    client.loop_stop()


def listens(number):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def serve(config, pipeline):
    stop = threading.Event()
    thread = threading.Thread(target=supervise, args=(config, 1, pipeline, stop, BOARD))
    thread.start()
    return stop, thread


def test_a_busy_store_gets_the_same_batch_again(fleet, port, publish):
    """Nothing is acknowledged or dropped while the store is busy: the same envelopes come again, in order."""
    pipeline = Stumbling(RetryableError("busy"), RetryableError("busy"))
    stop, thread = serve(load_config(fleet.write_config(port, client_id='"a"')), pipeline)
    try:
        wait_until_subscribed(publish, pipeline)
        wait_for(lambda: len(pipeline.batches) >= 3)
        assert pipeline.batches[0] == pipeline.batches[1][: len(pipeline.batches[0])]
        assert pipeline.batches[1] == pipeline.batches[2][: len(pipeline.batches[1])]
    finally:
        stop.set()
        thread.join(10)


def test_a_fault_of_our_own_ends_the_connection_not_the_service(fleet, port, publish, capfd):
    """The supervising loop logs the kind and place, never the text, and the broker sends the message again."""
    pipeline = Stumbling(ValueError("pl4nted value"))
    stop, thread = serve(load_config(fleet.write_config(port, client_id='"b"')), pipeline)
    try:
        wait_until_subscribed(publish, pipeline)
        wait_for(lambda: len(pipeline.batches) >= 2)
        assert b"probe" in pipeline.batches[1]
    finally:
        stop.set()
        thread.join(10)
    output = "".join(capfd.readouterr())
    assert "ValueError" in output
    assert "pl4nted" not in output


def test_permanent_trouble_ends_the_service(fleet, port, publish):
    """A broken database is for somebody to mend: the exception leaves with its hint."""
    config = load_config(fleet.write_config(port, client_id='"c"'))
    timer = threading.Timer(0.5, publish, [b"probe"])
    timer.start()
    with pytest.raises(StoreError):
        supervise(config, 1, Stumbling(StoreError("broken")), threading.Event(), BOARD)
    timer.join()


def test_a_broker_that_is_away_is_retryable():
    """No broker, no exception but the one that means "try again"."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        settings = IngestSettings(Broker(f"mqtt://127.0.0.1:{closed.getsockname()[1]}"), "f", "id", 10, 0.05)
        with pytest.raises(RetryableError, match="broker"), Connection(settings, Stumbling()):
            pass


def test_retained_and_huge_messages_are_dropped_at_the_door():
    """Their bytes are not kept; they are counted and acknowledged in their turn with the others."""
    pipeline = Stumbling()
    connection = Connection(IngestSettings(Broker("mqtt://127.0.0.1:1"), "f", "id", 10, 0.05), pipeline)
    for payload, retain in ((b"kept", False), (b"old", True), (bytes(8193), False), (bytes(8192), False)):
        message = mqtt.MQTTMessage(mid=1, topic=b"t")
        message.payload, message.qos, message.retain = payload, 1, retain
        connection._on_message(None, None, message)
    connection._flush()
    assert pipeline.batches == [[b"kept", bytes(8192)]]
    assert pipeline.at_the_door == {RefusalReason.RETAINED: 1, RefusalReason.TOO_LARGE: 1}


def test_messages_of_qos_0_take_no_more_memory_than_the_broker_may_have_in_flight():
    """Nothing holds them back while the store is away; what finds no room is counted, and those of QoS 1 come in."""
    pipeline = Stumbling()
    connection = Connection(IngestSettings(Broker("mqtt://127.0.0.1:1"), "f", "id", 10, 0.05), pipeline)
    for qos in [0] * 5_000 + [1] * 3:
        message = mqtt.MQTTMessage(mid=1, topic=b"t")
        message.payload, message.qos = bytes(8192), qos
        connection._on_message(None, None, message)
    assert len(connection._pending) == 103
    connection._flush()
    assert pipeline.at_the_door == {RefusalReason.OVERFLOW: 4_900}
    connection._flush()
    assert pipeline.at_the_door == {}  # counted once


def wait_until_subscribed(publish, pipeline):
    """Publish until the first probe arrives: the embedded broker keeps nothing for a client it does not know yet."""

    def arrived():
        if pipeline.batches:
            return True
        publish(b"probe")
        time.sleep(0.05)
        return False

    wait_for(arrived)
