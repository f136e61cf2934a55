"""`discreet aggregator run` beside a real broker, and a client that plays a device."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt

from discreet_contract.wire import decode_receipts, receipts_topic, reports_topic
from needs import need

MOSQUITTO = shutil.which("mosquitto") or ("/usr/sbin/mosquitto" if Path("/usr/sbin/mosquitto").exists() else None)
DISCREET = str(Path(sys.executable).with_name("discreet"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def process(command, log):
    """A child that is stopped by its own id, whatever the test does."""
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            yield child
        finally:
            child.kill()
            child.wait(10)


def wait_for(condition, what, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def broker(kind, port, folder):
    if kind == "mosquitto":
        need(MOSQUITTO, "mosquitto is not installed (apt-get install mosquitto)")
        (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        command = [MOSQUITTO, "-c", str(folder / "mosquitto.conf")]
    else:
        command = [DISCREET, "aggregator", "dev-broker", "--port", str(port)]
    with process(command, folder / "broker.log") as child:
        wait_for(lambda: listens(port), "the broker")
        yield child


@contextmanager
def aggregator(config, log):
    ready = log.read_text().count('"ready"') if log.exists() else 0
    with process([DISCREET, "aggregator", "run", "--config", str(config)], log) as child:
        wait_for(lambda: log.read_text().count('"ready"') > ready, "the aggregator")
        yield child


@contextmanager
def device(port):
    """A client that publishes and collects every receipt."""
    received = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="device", protocol=mqtt.MQTTv5)
    client.on_connect = lambda c, *_: c.subscribe(receipts_topic("test-fleet", "+"))
    subscribed = []
    client.on_subscribe = lambda *_: subscribed.append(True)
    client.on_message = lambda _c, _d, message: received.extend(decode_receipts(message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_for(lambda: subscribed, "the device's subscription")
    try:
        yield client, received
    finally:
        client.disconnect()
        client.loop_stop()


def publish(client, messages):
    for message in [client.publish(reports_topic("test-fleet"), payload, qos=1) for payload in messages]:
        message.wait_for_publish(10)


def count(query, sql):
    [(number,)] = query(sql)
    return number or 0
