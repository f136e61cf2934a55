"""A device's connection: which MQTT it speaks, under what name, how it waits, and how much it has on the way."""

import re
import socket
import threading
from contextlib import suppress

import pytest

from brokers import mosquitto, wait_for
from discreet_agent.link import MqttLink
from discreet_contract.broker import Broker
from discreet_contract.reconnect import AGAIN_SECONDS, STEADY_SECONDS, Dialect, Waits

REFUSES_5 = bytes([0x20, 2, 0, 1])  # CONNACK of MQTT 3.1.1: unacceptable protocol version
TAKES_311 = bytes([0x20, 2, 0, 0])


class OldBroker:
    """Speaks MQTT 3.1.1 only, and not much of it: answers CONNECT, SUBSCRIBE and PUBLISH of QoS 1."""

    def __init__(self, answer_to_5):
        self._answer_to_5 = answer_to_5
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.levels, self.published = [], []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._server.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream, suppress(OSError):  # whoever hung up first
                self._serve(connection, stream)

    def _serve(self, connection, stream):
        while head := stream.read(1):
            length, shift = 0, 0
            while True:  # the remaining length, seven bits a byte
                byte = stream.read(1)[0]
                length, shift = length | (byte & 127) << shift, shift + 7
                if byte < 128:
                    break
            body = stream.read(length)
            match head[0] >> 4:
                case 1:
                    self.levels.append(body[6])
                    connection.sendall(TAKES_311 if body[6] == 4 else self._answer_to_5)
                    if body[6] != 4:
                        return
                case 3:
                    self.published.append(body)
                    at = 2 + int.from_bytes(body[:2], "big")
                    connection.sendall(bytes([0x40, 2]) + body[at : at + 2])
                case 8:
                    connection.sendall(bytes([0x90, 3]) + body[:2] + b"\x00")


@pytest.mark.parametrize("answer", [REFUSES_5, b""], ids=["refuses version 5", "hangs up on it"])
def test_a_broker_that_does_not_know_mqtt_5_is_spoken_to_in_3_1_1(answer):
    """At the second connection, and a report goes out, without the properties that 3.1.1 has no place for."""
    broker = OldBroker(answer)
    try:
        with MqttLink(Broker(f"mqtt://127.0.0.1:{broker.port}"), "flights", lambda _message: None) as link:
            wait_for(lambda: link.connected, "a connection")
            assert broker.levels == [5, 4]
            assert link.publish(b"sealed", expires_in_seconds=60)
            wait_for(lambda: broker.published, "the report")
        topic = b"discreet/1/flights/reports"
        assert broker.published[0][2 : 2 + len(topic)] == topic
        assert broker.published[0].endswith(b"sealed")
    finally:
        broker.close()


def test_protocol_5_means_5():
    """Nothing older is spoken, and the trouble is said."""
    broker = OldBroker(REFUSES_5)
    try:
        settings = Broker(f"mqtt://127.0.0.1:{broker.port}", protocol="5")
        with MqttLink(settings, "flights", lambda _message: None) as link:
            wait_for(lambda: len(broker.levels) >= 2, "two attempts")
            assert set(broker.levels) == {5}
            assert "Unsupported protocol version" in link.trouble
    finally:
        broker.close()


def test_mqtt_5_is_tried_again_after_six_hours():
    """A broker may have been renewed; in between nobody asks twice."""
    dialect = Dialect("auto")
    assert dialect.choose(0.0) == 5
    assert dialect.not_understood(is_said=True)
    assert dialect.choose(1.0) == 4
    dialect.accepted(1.0)
    assert dialect.choose(AGAIN_SECONDS) == 4
    assert dialect.choose(AGAIN_SECONDS + 2) == 5


def test_each_connection_has_another_name(tmp_path):
    """By the broker's own log: two connections, two client ids, both random; a configured one stays."""
    settings = "allow_anonymous true\nlog_type all\nconnection_messages true"
    with mosquitto(tmp_path, settings) as port:
        url = f"mqtt://127.0.0.1:{port}"
        for broker in (Broker(url), Broker(url), Broker(url, protocol="3.1.1"), Broker(url, client_id="unit-7")):
            with MqttLink(broker, "flights", lambda _message: None) as link:
                wait_for(lambda link=link: link.connected, "a connection")
    named = re.findall(r"New client connected from \S+ as (\S+) \(p(\d), c(\d)", (tmp_path / "broker.log").read_text())
    assert [version for _, version, _ in named] == ["5", "5", "2", "5"]  # Mosquitto's 2 is MQTT 3.1.1
    assert {clean for _, _, clean in named} == {"1"}
    assert len({name for name, _, _ in named}) == 4
    assert [bool(re.fullmatch("dsc-[0-9a-f]{16}", name)) for name, _, _ in named] == [True, True, True, False]


def test_reports_go_by_alias_and_no_more_than_the_broker_takes(tmp_path):
    """A listener sees the topic in full whether it travelled or not, and each report with its expiry."""
    from discreet_contract.broker import new_client

    with mosquitto(tmp_path, "allow_anonymous true") as port:
        url, heard = f"mqtt://127.0.0.1:{port}", []
        listener, granted = new_client(Broker(url), "listener"), threading.Event()
        listener.on_message = lambda _c, _d, m: heard.append((m.topic, m.payload, m.properties.MessageExpiryInterval))
        listener.on_subscribe = lambda *_: granted.set()
        listener.connect("127.0.0.1", port)
        listener.subscribe("discreet/#", qos=0)
        listener.loop_start()
        assert granted.wait(20)
        try:
            with MqttLink(Broker(url), "flights", lambda _message: None) as link:
                wait_for(lambda: link.connected, "a connection")
                assert link.publish(b"a", expires_in_seconds=3600)
                assert link.publish(b"b", expires_in_seconds=3600)
                wait_for(lambda: len(heard) == 2, "both")
        finally:
            listener.disconnect()
            listener.loop_stop()
    assert [(topic, payload) for topic, payload, _ in heard] == [
        ("discreet/1/flights/reports", b"a"),
        ("discreet/1/flights/reports", b"b"),
    ]
    assert all(3500 < left <= 3600 for _, _, left in heard)


def test_a_broker_that_accepts_and_drops_at_once_resets_no_wait():
    """The ceiling doubles all the same; a steady connection brings the first wait back.

    The largest of 200 draws is under half of its ceiling with odds of 2⁻²⁰⁰.
    """

    def largest(attempt, lasted):
        draws = []
        for _ in range(200):
            waits = Waits(1.0, attempt)
            draws.append(waits.after(lasted))
        return max(draws)

    assert 30 < largest(20, 0.5) <= 60
    assert largest(20, STEADY_SECONDS) <= 1.0
    flapping = Waits(1.0)
    for _ in range(10):
        flapping.after(2.0)
    assert flapping.attempt == 10


def test_a_broker_that_took_version_5_keeps_it_through_a_restart():
    """Hanging up is what a broker does while it starts: only its own word brings a device down to 3.1.1 then."""
    dialect = Dialect("auto")
    dialect.accepted(0.0)
    assert not dialect.not_understood(is_said=False)
    assert dialect.choose(1.0) == 5
    assert dialect.not_understood(is_said=True)
    assert dialect.choose(2.0) == 4
    assert dialect.not_understood(is_said=False)  # and back, where 3.1.1 is hung up on
    assert dialect.choose(3.0) == 5


def test_a_message_that_no_device_could_hold_is_not_read():
    """A broker need not keep to the size that a client takes: the connection ends at the length, and says why."""
    sent = []

    def serve(server):
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.recv(4096)
            connection.sendall(bytes([0x20, 3, 0, 0, 0]) + bytes([0x30, 0xFF, 0xFF, 0xFF, 0x7F]))  # 256 MB follow
            while len(sent) < 1_000:
                sent.append(connection.send(bytes(65_536)))

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        with MqttLink(Broker(f"mqtt://127.0.0.1:{server.getsockname()[1]}", protocol="5"), "f", print) as link:
            wait_for(lambda: "message of 268435455 bytes" in link.trouble, "the refusal")
            assert not link.connected
    assert sum(sent) < 16_000_000  # what lies in the sockets of both sides


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves such a socket to Python
def test_a_connection_that_hung_when_it_was_closed_is_no_second_one_afterwards():
    """The owner says off and on again while a handshake gets no answer: one thread goes on, and the other ends."""
    hanging = []

    def serve(server):
        while True:
            try:
                hanging.append(server.accept()[0])  # and not a word of TLS
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        link = MqttLink(Broker(f"mqtts://127.0.0.1:{server.getsockname()[1]}"), "f", print)
        before = set(threading.enumerate())
        link.start()
        wait_for(lambda: len(hanging) == 1, "the first handshake")
        link.close()
        link.start()
        wait_for(lambda: len(hanging) == 2, "the second one")
        hanging[0].close()
        wait_for(
            lambda: len([one for one in set(threading.enumerate()) - before if one.name == "mqtt"]) == 1, "its end"
        )
        hanging[1].close()
        link.close()


def test_a_topic_that_is_no_text_ends_the_connection_and_it_is_said_so():
    """Whatever a broker sends: a link that is not connected does not say that it is."""
    ended = threading.Event()
    answers = bytes([0x20, 3, 0, 0, 0]) + bytes([0x30, 6, 0, 2, 0xFF, 0xFE, 0, 1])  # accepted; a topic that is no UTF-8

    def serve(server):
        connection, _ = server.accept()
        with connection, server:
            connection.recv(4096)
            connection.sendall(answers)
            ended.wait(20)

    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    with MqttLink(Broker(f"mqtt://127.0.0.1:{port}", protocol="5", reconnect_seconds=60), "f", print, print) as link:
        wait_for(lambda: "cannot be reached" in link.trouble, "the trouble")
        is_connected = link.connected
        ended.set()
    assert not is_connected
