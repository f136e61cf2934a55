"""A stock OpenTelemetry SDK program and plain HTTP feed a running daemon; what is answered 200 is on disk."""

import gzip
import hashlib
import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from deployment import accepts, free_port

TOKEN = "a-token-of-the-tests"  # noqa: S105

SDK_PROGRAM = """
import sys, time
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

endpoint, headers = sys.argv[1], {"Authorization": f"Bearer {sys.argv[2]}"} if sys.argv[2] else None
resource = Resource.create({"service.name": "doors"})
logs = LoggerProvider(resource=resource)
logs.add_log_record_processor(
    BatchLogRecordProcessor(OTLPLogExporter(f"{endpoint}/v1/logs", compression=Compression.Gzip, headers=headers))
)
logger = logs.get_logger("doors", "2.3.1")
for number in range(200):
    logger.emit(
        timestamp=time.time_ns(),
        event_name="door.opened",
        attributes={"seconds": number / 16, "side": "left", "discreet.id": f"sdk-{number}", "list": "undeclared"},
    )
logger.emit(timestamp=time.time_ns(), event_name="door.opened", attributes={"seconds": [1, 2], "side": "left"})
assert logs.force_flush()
logs.shutdown()

exporter = OTLPMetricExporter(f"{endpoint}/v1/metrics", compression=Compression.Gzip, headers=headers)
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
metrics = MeterProvider(resource=resource, metric_readers=[reader])
counter = metrics.get_meter("doors").create_counter("door.openings", unit="s")
for rise in (3, 4, 0):
    counter.add(rise, {"door.side": "right"})
    assert metrics.force_flush()
    time.sleep(0.01)
metrics.shutdown()
"""

OTLP = (
    "    fields:\n      seconds:",
    (
        "    otlp: {metric: door.openings, value: seconds, unit: s, attributes: {side: door.side}}\n"
        "    fields:\n      seconds:"
    ),
)
SHA256 = hashlib.sha256(TOKEN.encode()).hexdigest()
SENDER = ("metrics:\n", f"senders:\n  doors: {{token_sha256: {SHA256}, signals: [door.opened]}}\nmetrics:\n")


class Device:
    """The deployment's agent with its HTTP edge on."""

    def __init__(self, deployment, *edits):
        self.deployment = deployment
        self.port = free_port()
        toml = Path(deployment.agent_toml)
        toml.write_text(f'http = "127.0.0.1:{self.port}"\n{toml.read_text()}')
        (deployment.folder / "policy.json").write_bytes(deployment.release(*edits))
        self.process = deployment.start_agent()
        deployment.wait_until(lambda: accepts(self.port), "the agent listens")

    def post(self, path, body, **headers):
        """One request on a connection of its own; returns (status, headers, decoded body)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        content = json.dumps(body).encode()
        if headers.get("Content-Encoding") == "gzip":
            content = gzip.compress(content)
        connection.request("POST", path, content, {"Content-Type": "application/json"} | headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        connection.close()
        return answer.status, answer.headers, said

    def run_sdk(self, token=""):
        """A program with the stock SDK; returns what it complained of."""
        command = [sys.executable, "-c", SDK_PROGRAM, f"http://127.0.0.1:{self.port}", token]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def raw_events(self):
        return self.deployment.status()["raw"]["events"]

    def counters(self):
        return self.deployment.status()["counters"]


def opened(**attributes):
    pairs = [
        {"key": key, "value": {"stringValue" if isinstance(value, str) else "doubleValue": value}}
        for key, value in ({"seconds": 1.5, "side": "left"} | attributes).items()
    ]
    return {"timeUnixNano": str(time.time_ns()), "eventName": "door.opened", "attributes": pairs}


def logs(*records):
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": list(records)}]}]}


def test_a_stock_sdk_feeds_the_agent(deployment):
    """Logs and a counter, in protobuf and gzip; the bad record is said in the partial success; twice is once."""
    device = Device(deployment, OTLP)
    device.run_sdk()
    assert device.raw_events() == 202  # 200 records and two rises
    refused = device.counters()["events_refused"]
    assert refused == {"WRONG_TYPE": 1}
    device.run_sdk()
    assert device.raw_events() == 204
    assert device.counters()["events_refused"] == {"WRONG_TYPE": 2, "DUPLICATE": 200}


def test_json_over_a_raw_socket_is_on_disk_when_it_is_answered(deployment):
    """A kill right after the answer loses nothing."""
    device = Device(deployment)
    body = json.dumps(logs(opened(), opened(seconds=-7.0), opened())).encode()
    head = (
        f"POST /v1/logs HTTP/1.1\r\nHost: localhost:{device.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", device.port)) as client:
        client.sendall(head.encode() + body)
        answer = client.recv(65_536)
        deployment.kill("agent")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.split(b"\r\n\r\n")[1]) == {
        "partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "1 × OUT_OF_BOUNDS: seconds < 0"}
    }
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.status() != {}, "the agent is back")
    assert device.raw_events() == 2


def test_a_page_that_rebinds_its_name_gets_nothing_and_is_counted(deployment):
    device = Device(deployment)
    for headers in ({"Host": f"evil.example:{device.port}"}, {"Origin": "https://evil.example"}):
        status, answered, said = device.post("/v1/logs", logs(opened()), **headers)
        assert status == 403
        assert "Access-Control-Allow-Origin" not in answered
        assert said["message"].startswith("FOREIGN_")
    assert device.counters()["requests_refused"] == {"FOREIGN_HOST": 1, "FOREIGN_ORIGIN": 1}
    assert device.raw_events() == 0


def test_a_token_is_wanted_where_the_policy_names_senders(deployment):
    device = Device(deployment, OTLP, SENDER)
    assert device.post("/v1/logs", logs(opened()))[0] == 401
    assert device.post("/v1/logs", logs(opened()), Authorization="Bearer wrong")[0] == 401
    assert device.post("/v1/logs", logs(opened()), Authorization=f"Bearer {TOKEN}")[0] == 200
    device.run_sdk(TOKEN)
    assert device.raw_events() == 203


def test_off_is_off_over_http_too(deployment):
    """P6: refused with the reason, nothing is stored."""
    device = Device(deployment)
    deployment.discreet("agent", "off", "--config", deployment.agent_toml)
    status, _, said = device.post("/v1/logs", logs(opened()))
    assert (status, said["partialSuccess"]["rejectedLogRecords"]) == (200, "1")
    assert said["partialSuccess"]["errorMessage"].startswith("1 × CONSENT_OFF: ")
    assert device.raw_events() == 0


def test_an_agent_without_http_listens_nowhere(deployment):
    """Not a single socket but the Unix one and the broker's."""
    process = deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent listens")
    listening = [c for c in psutil.Process(process.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == []


def test_a_gzip_bomb_neither_kills_nor_bloats(deployment):
    """A gigabyte of zeros in a megabyte, ten times."""
    device = Device(deployment)
    bomb = gzip.compress(bytes(1_000_000_000), 9)
    before = psutil.Process(device.process.pid).memory_info().rss
    for _ in range(10):
        connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=30)
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        connection.request("POST", "/v1/logs", bomb, headers)
        assert connection.getresponse().status == 413
        connection.close()
    assert psutil.Process(device.process.pid).memory_info().rss - before < 50_000_000
    assert device.post("/v1/logs", logs(opened()))[0] == 200


def test_a_locked_database_is_said_and_what_is_sent_again_counts_once(deployment):
    """503 with Retry-After while another process holds it."""
    device = Device(deployment)
    record = opened(**{"discreet.id": "once"})
    with closing(sqlite3.connect(deployment.folder / "agent" / "agent.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, headers, said = device.post("/v1/logs", logs(record))
        assert (status, headers["Retry-After"]) == (503, "5")
        assert said["message"].startswith("STORE_UNAVAILABLE: ")
        other.execute("ROLLBACK")
    assert device.post("/v1/logs", logs(record))[2] == {}
    assert device.post("/v1/logs", logs(record))[2]["partialSuccess"]["errorMessage"].startswith("1 × DUPLICATE")
    assert device.raw_events() == 1


def test_planted_values_stay_on_the_device(deployment):
    """P1: neither in an answer nor in the log nor in status, whatever was wrong with the request."""
    device = Device(deployment, OTLP)
    planted = "planted-value-zyx"
    fields = [{"key": "side", "value": {"arrayValue": {"values": [{"stringValue": planted}]}}}]
    bodies = [
        logs(opened(side=planted)),
        logs(opened(**{planted: planted})),
        logs(opened() | {"eventName": planted}),
        logs(opened() | {"attributes": fields}),
        logs(opened() | {"timeUnixNano": planted}),
        {"resourceLogs": planted},
        {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": planted, "gauge": {"dataPoints": [{}]}}]}]}]},
    ]
    answers = [device.post(path, body)[2] for body in bodies for path in ("/v1/logs", "/v1/metrics")]
    answers.append(device.post(f"/{planted}", {}, Authorization=f"Bearer {planted}")[2])
    status = deployment.status()
    assert deployment.stop("agent") == 0
    log = (deployment.folder / "agent.log").read_text()
    assert status["counters"]["events_refused"]
    assert planted not in json.dumps([answers, status]) + log


@pytest.mark.parametrize("address", ["0.0.0.0:4318", "192.0.2.1:4318"])
def test_another_address_than_loopback_is_refused_at_the_start(deployment, address):
    toml = Path(deployment.agent_toml)
    toml.write_text(f'http = "{address}"\n{toml.read_text()}')
    done = deployment.discreet("agent", "run", "--config", deployment.agent_toml)
    assert done.returncode == 3
    assert "loopback" in done.stderr
