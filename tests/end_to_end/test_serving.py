"""Apps beside a real agent: what it was told changes what they get at once; restart, policy and owner are obeyed."""

import contextlib
import hashlib
import json
import socket
import time
from http.client import HTTPConnection

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider

from deployment import free_port
from discreet_agent.ask import ask
from discreet_agent.client_reading import Reader

ALL = "/ofrep/v1/evaluate/flags"
PARTS = """features:
  openings: {from: door.opened, aggregate: count, window: 1d}
  secret_seconds: {from: door.opened, value: seconds, aggregate: sum, window: 1d}
segments:
  busy: {when: {">=": [{var: openings}, 3]}, min_stay: 0s}
flags:
  shade:
    state: ENABLED
    variants: {dark: 10.0, light: 2.5}
    defaultVariant: light
    targeting: {if: [{in: [busy, {var: segments}]}, dark, light]}
  hidden: {state: ENABLED, variants: {"on": true}, defaultVariant: "on"}
  retired: {state: DISABLED, variants: {"on": true}, defaultVariant: "on"}
metrics:
"""
TOKEN = "token-of-the-lamp"  # noqa: S105
SENDERS = f"""senders:
  lamp:
    token_sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}
    signals: [door.opened]
    features: [openings]
    flags: [shade]
metrics:
"""


@pytest.fixture
def agent(lone):
    """A running agent under a policy with features, a segment and flags."""
    lone.address = f"127.0.0.1:{free_port()}"
    lone.configure_agent(http=lone.address)
    deliver(lone, ("metrics:\n", PARTS))
    start(lone)
    yield lone
    api.clear_providers()


def deliver(lone, *edits):
    (lone.folder / "policy.json").write_bytes(lone.release(*edits))


def start(lone):
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("state") == "on", "the agent is on")


def tell(lone, number, seconds=1):
    """Events, durable when this returns."""
    now = int(time.time() * 1000)
    event = {"signal": "door.opened", "version": "1-0-0", "time": now, "fields": {"seconds": seconds, "side": "left"}}
    answer = ask(lone.socket, json.dumps({"events": [event] * number}).encode())
    assert answer == {"ok": number}


def request(lone, method, path, body=None, headers=None):
    connection = HTTPConnection(lone.address, timeout=5)
    with contextlib.closing(connection):
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"} | (headers or {}))
        answer = connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None, answer.headers


def shade(lone):
    return request(lone, "POST", f"{ALL}/shade", {"context": {}})[1]["variant"]


def command(lone, *arguments):
    done = lone.discreet("agent", *arguments, "--config", lone.agent_toml)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_event_changes_what_apps_get_within_a_tenth_of_a_second(agent):
    """Through OFREP, from the answer to the event on; the bound leaves a busy machine ten times as much."""
    tell(agent, 2)
    assert shade(agent) == "light"
    _, _, headers = request(agent, "POST", ALL, {})
    known = {"If-None-Match": headers["ETag"]}
    assert request(agent, "POST", ALL, {}, known)[0] == 304

    tell(agent, 1)
    begun = time.monotonic()
    while shade(agent) != "dark":
        assert time.monotonic() - begun < 1.0

    assert request(agent, "POST", ALL, {}, known)[0] == 200
    segments = request(agent, "GET", "/v1/segments")[1]["segments"]
    assert segments["busy"]["inside"] is True
    assert request(agent, "GET", "/v1/features/openings")[1]["value"] == 3


def test_every_way_to_ask_gives_the_same(agent):
    tell(agent, 3)
    api.set_provider(OFREPProvider(f"http://{agent.address}"), "lamp")
    client = api.get_client("lamp")
    with Reader(agent.socket) as reader:
        read = reader.flag("shade", 0.0), reader.flag("retired", default=False), reader.feature("openings")
    of_socket = ask(agent.socket, b'{"query": "evaluate", "flag": "shade"}')
    of_command = json.loads(command(agent, "flags", "--json"))["flags"]

    assert client.get_float_value("shade", 0.0) == of_socket["value"] == of_command["shade"]["value"] == 10.0
    assert read == (10.0, False, 3)
    assert client.get_boolean_details("retired", default_value=False).reason == "DISABLED"
    assert "openings  " in command(agent, "features")
    assert "busy" in command(agent, "segments")
    assert "shade" in command(agent, "explain", "shade")
    assert json.loads(command(agent, "explain", "shade", "--json")) == request(agent, "GET", "/v1/explain/shade")[1]


def test_evaluations_are_counted_for_the_owner_and_nothing_else_comes_of_them(agent):
    """By flag; what does not exist is not counted, nor is asking why."""
    for _ in range(3):
        shade(agent)
    request(agent, "POST", f"{ALL}/no_such_flag", {})
    request(agent, "GET", "/v1/explain/hidden")
    assert agent.status()["evaluations"] == {"shade": 3}
    request(agent, "POST", ALL, {})
    assert agent.status()["evaluations"] == {"shade": 4, "hidden": 1, "retired": 1}
    assert "flags     evaluated since the start: hidden 1, retired 1, shade 4" in command(agent, "status")
    assert agent.query("agent/agent.db", "SELECT count(*) FROM exposures") == [(0,)]


def test_a_change_is_told_to_who_listens(agent):
    with socket.create_connection(agent.address.split(":"), timeout=10) as stream:
        stream.sendall(f"GET /ofrep/v1/events HTTP/1.1\r\nHost: {agent.address}\r\n\r\n".encode())
        received = b""
        while received.count(b"refetchEvaluation") < 1:
            received += stream.recv(4096)
        tell(agent, 3)
        while received.count(b"refetchEvaluation") < 2:
            more = stream.recv(4096)
            assert more
            received += more


def test_what_apps_get_survives_a_restart_and_a_newer_policy(agent):
    tell(agent, 3)
    assert shade(agent) == "dark"
    agent.kill("agent")
    start(agent)
    assert shade(agent) == "dark"

    deliver(agent, ("{dark: 10.0, light: 2.5}", "{dark: 20.5, light: 2.5}"))
    agent.wait_until(
        lambda: request(agent, "POST", f"{ALL}/shade", {})[1].get("value") == 20.5, "the newer policy is obeyed"
    )


def test_a_newer_policys_scopes_hold_at_once(agent):
    """A token becomes necessary, and what it does not open does not exist."""
    tell(agent, 3)
    assert request(agent, "POST", ALL, {})[0] == 200
    deliver(agent, ("metrics:\n", SENDERS))
    agent.wait_until(lambda: request(agent, "POST", ALL, {})[0] == 401, "the newer policy is obeyed")

    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert [flag["key"] for flag in request(agent, "POST", ALL, {}, shown)[1]["flags"]] == ["shade"]
    hidden, absent = (request(agent, "POST", f"{ALL}/{key}", {}, shown) for key in ("hidden", "absent"))
    assert {**hidden[1], "key": ""} == {**absent[1], "key": ""}
    assert list(request(agent, "GET", "/v1/features", None, shown)[1]["features"]) == ["openings"]
    assert request(agent, "GET", "/v1/segments", None, shown)[1] == {"segments": {}}
    explained = json.dumps(request(agent, "GET", "/v1/explain/shade", None, shown)[1])
    assert "secret_seconds" not in explained


def test_off_is_off(agent):
    """Flags give what they give where nothing is known."""
    tell(agent, 3)
    assert shade(agent) == "dark"
    command(agent, "off")
    agent.wait_until(lambda: shade(agent) == "light", "the owner's word is obeyed")
    assert request(agent, "GET", "/v1/features")[1] == {"features": {}}
    tracked = request(agent, "POST", "/v1/track", {"exposures": [{"flag": "shade"}]})[1]
    assert tracked["exposures"] == [{"flag": "shade", "seen": "OFF"}]


def test_what_apps_ask_is_in_no_log(agent):
    """Neither contexts, nor keys, nor answers."""
    planted = "planted-context-qwx"
    tell(agent, 3, seconds=12345)
    for body in ({"context": {"targetingKey": planted}}, {"context": planted}, {"context": {planted: [planted]}}):
        request(agent, "POST", f"{ALL}/{planted}", body)
        request(agent, "POST", ALL, body)
        request(agent, "POST", "/v1/explain/shade", body)
        request(agent, "POST", "/v1/track", body | {"exposures": [{"flag": planted, "variant": planted}]})
        ask(agent.socket, json.dumps({"query": "evaluate", "flag": planted, **body}).encode())
    request(agent, "GET", "/v1/features")
    assert agent.stop("agent") == 0
    log = (agent.folder / "agent.log").read_text()
    assert planted not in log
    assert "12345" not in log
    stored = b"".join(path.read_bytes() for path in (agent.folder / "agent").iterdir() if path.is_file())
    assert planted.encode() not in stored
