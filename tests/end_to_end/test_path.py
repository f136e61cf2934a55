"""Broker, aggregator and agent as real processes: the whole path, and everything bad that may come in on it."""

import json
import secrets
import time

import pytest

from deployment import MINUTE, Listener, event
from discreet_agent.ask import ask
from discreet_agent.device import open_device
from discreet_agent.link import MqttLink
from discreet_contract.broker import Broker
from discreet_contract.clock import ManualClock
from discreet_contract.envelope import OVERHEAD_BYTES, encode_key_id, seal
from discreet_contract.wire import Report, encode_report, receipts_topic

EVENT = {"signal": "door.opened", "version": "1-0-0", "fields": {"seconds": 1, "side": "left"}}


def line(**changes):
    return json.dumps(EVENT | {"time": time.time_ns() // 1_000_000} | changes).encode()


def metrics(deployment):
    done = deployment.discreet("aggregator", "metrics", "--json", "--config", deployment.aggregator_toml)
    return json.loads(done.stdout)["metrics"] if done.returncode == 0 else []


def refusals(deployment):
    done = deployment.discreet("aggregator", "refusals", "--json", "--config", deployment.aggregator_toml)
    return {row["reason"]: row["count"] for row in json.loads(done.stdout)["refusals"]}


@pytest.mark.deployment(min_devices=5)
def test_from_the_socket_to_a_figure(deployment):
    """One device is withheld; with five there is a figure with its interval; the agent's own words agree."""
    windows = deployment.seed(windows=2)
    deployment.start_aggregator()
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.made() >= 6 and deployment.waiting() == 0, "the first device is settled")
    withheld = [row for row in metrics(deployment) if row["window_start"] == iso(windows[0])]
    assert {row["withheld"] for row in withheld} == {"1 of 5"}
    assert {row["estimate"] for row in withheld} == {None}

    broker = Broker(
        url=f"mqtt://127.0.0.1:{deployment.port}", username="device", password_file=str(deployment.folder / "password")
    )
    with MqttLink(broker, "crashers", lambda _: None) as link:
        deployment.wait_until(lambda: link.connected, "the other devices' connection")
        for number in range(4):
            clock = ManualClock(windows[0] * 1000)
            with open_device(deployment.folder / f"device{number}", deployment.policy, clock) as device:
                device.pipeline.close_windows()
                clock.ms = (windows[0] + MINUTE) * 1000
                assert device.pipeline.record([event(windows[0] + 1)]) == [None]
                assert device.pipeline.close_windows() == 3
                assert all(link.publish(row.envelope) for row in device.store.outbox.due(clock.ms, 10))
        deployment.wait_until(lambda: any(row["estimate"] is not None for row in metrics(deployment)), "a figure")

    deployment.wait_until(
        lambda: all(row["devices"] == 5 for row in first(deployment, windows)), "five devices counted"
    )
    for row in first(deployment, windows):
        assert row["low"] <= row["estimate"] <= row["high"]
        assert (row["epsilon"], row["status"], row["policy_versions"]) == (1.0, "provisional", [1])
    status = deployment.status()
    assert status["state"] == "on"
    assert status["broker"] == "connected"
    assert status["counters"]["reports_settled"]["ACCEPTED"] >= 6


def first(deployment, windows):
    return [row for row in metrics(deployment) if row["window_start"] == iso(windows[0])]


def iso(second):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


BAD_LINES = [
    (line(signal="door.closed"), "UNKNOWN_SIGNAL", "no such signal"),
    (line(version="9-0-0"), "UNKNOWN_VERSION", "1-0-0"),
    (line(fields={"seconds": "1", "side": "left"}), "WRONG_TYPE", "seconds is a number"),
    (line(fields={"seconds": 1, "side": "up"}), "UNKNOWN_CATEGORY", "side"),
    (line(fields={"seconds": 100_001, "side": "left"}), "OUT_OF_BOUNDS", "seconds > 100000"),
    (line(fields={"side": "left"}), "MISSING_FIELD", "seconds is required"),
    (line(time="tomorrow"), "BAD_TIME", "RFC 3339"),
    (line(time=4_000_000_000_000), "TIME_IN_FUTURE", "ahead"),
    (b'{"signal": "door.opened"', "MALFORMED", "JSON object"),
    (b"\xff\xfe\x00", "MALFORMED", "JSON object"),
    (b'{"fields": "' + b"x" * 1_100_000 + b'"}', "TOO_LARGE", "at most"),
]


def test_bad_input_is_refused_counted_and_disturbs_nothing(deployment):
    """Each with its reason and a detail that helps; good events beside it are taken."""
    deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent listens")
    for bad, reason, detail in BAD_LINES:
        answer = ask(deployment.socket, bad)
        assert (answer["ok"], answer["refused"][0]["reason"]) == (0, reason)
        assert detail in answer["refused"][0]["detail"]
        assert ask(deployment.socket, line()) == {"ok": 1}
    batch = b'{"events":[' + b",".join([line(), line(signal="x.y"), line()]) + b"]}"
    answer = ask(deployment.socket, batch)
    assert (answer["ok"], [item["index"] for item in answer["refused"]]) == (2, [1])
    emitted = deployment.discreet(
        "agent", "emit", "--config", deployment.agent_toml, stdin=f"{line().decode()}\nnonsense\n{line().decode()}\n"
    )
    assert (emitted.returncode, emitted.stdout) == (1, "ok 2, refused 1\n")
    assert "line 2" in emitted.stderr

    counters = deployment.status()["counters"]
    assert counters["events_accepted"][""] == len(BAD_LINES) + 4
    assert sum(counters["events_refused"].values()) == len(BAD_LINES) + 2
    assert counters["events_refused"]["UNKNOWN_SIGNAL"] == 2


def test_hostile_envelopes_are_refused_counted_and_stop_nothing(deployment):
    """Garbage, wrong keys, unknown policies, illegal payloads and duplicates; then an honest report is counted."""
    windows = deployment.seed(windows=1)
    deployment.start_aggregator()
    deployment.wait_until(
        lambda: "ready" in (deployment.folder / "aggregator.log").read_text(), "the aggregator is ready"
    )
    base = Report(
        1, "crashers", deployment.policy.wire_hash, "opened", windows[0], "rr-1", b"\1", (), bytes(16), bytes(32)
    )

    def sealed(**changes):
        values = {name: getattr(base, name) for name in base.__struct_fields__} | {"report_id": secrets.token_bytes(16)}
        body = encode_report(Report(**(values | changes)), overhead=OVERHEAD_BYTES)
        return seal(body, "test", deployment.key.public_key)

    good = sealed()
    hostile = {
        "SIZE": b"short",
        "MAGIC": b"nope" + good[4:],
        "KEY_UNKNOWN": good[:4] + encode_key_id("other") + good[12:],
        "UNOPENABLE": good[:-1] + bytes([good[-1] ^ 1]),
        "MALFORMED": seal(b"\xc1" * 196, "test", deployment.key.public_key),
        "WIRE_VERSION_UNKNOWN": sealed(wire_version=2),
        "WRONG_FLEET": sealed(fleet="others"),
        "POLICY_UNKNOWN": sealed(policy_hash=bytes(16)),
        "METRIC_UNKNOWN": sealed(metric="nothing"),
        "MECHANISM_MISMATCH": sealed(mechanism="krr-1"),
        "DIMENSIONS_ILLEGAL": sealed(dimensions=(("platform", "x"),)),
        "WINDOW_ILLEGAL": sealed(window_start=windows[0] + 1),
        "WINDOW_NOT_BEGUN": sealed(window_start=windows[0] + 1000 * MINUTE),
        "WINDOW_TOO_LATE": sealed(window_start=MINUTE),
        "PAYLOAD_ILLEGAL": sealed(payload=b"\2"),
        "TOO_LARGE": bytes(9000),
    }
    broker = Broker(
        url=f"mqtt://127.0.0.1:{deployment.port}", username="device", password_file=str(deployment.folder / "password")
    )
    with MqttLink(broker, "crashers", lambda _: None) as link:
        deployment.wait_until(lambda: link.connected, "the attacker is connected")
        for envelope in [*hostile.values(), good, good, good]:
            assert link.publish(envelope)
        expected = dict.fromkeys(hostile, 1) | {"DUPLICATE": 2}
        deployment.wait_until(lambda: refusals(deployment) == expected, f"all is counted: {expected}")
    assert [row["devices"] for row in metrics(deployment) if row["metric"] == "opened"] == [1]

    deployment.start_agent()
    deployment.wait_until(lambda: deployment.made() >= 3 and deployment.waiting() == 0, "the honest device is settled")
    assert deployment.stop("aggregator") == 0
    assert deployment.stop("agent") == 0


def test_forged_receipts_clear_nothing(deployment):
    """A receipt without the report's own key is counted and ignored."""
    from paho.mqtt.client import Client, MQTTv5
    from paho.mqtt.enums import CallbackAPIVersion

    from discreet_contract.wire import Receipt, encode_receipts, receipt_bucket

    deployment.seed(windows=1)
    deployment.start_agent()
    deployment.wait_until(
        lambda: deployment.made() >= 3 and deployment.status()["broker"] == "connected", "reports wait"
    )
    forger = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
    forger.username_pw_set("aggregator", "secret")  # worse than any device: it may write to the receipts
    forger.connect("127.0.0.1", deployment.port)
    forger.loop_start()
    for [report_id] in deployment.query("agent/agent.db", "SELECT report_id FROM outbox"):
        message = encode_receipts((Receipt(report_id, 0, bytes(16)),))
        forger.publish(receipts_topic("crashers", receipt_bucket(report_id, 16)), message, qos=1).wait_for_publish(5)
        forger.publish(receipts_topic("crashers", receipt_bucket(report_id, 16)), b"\xc1", qos=1).wait_for_publish(5)
    deployment.wait_until(
        lambda: deployment.status()["counters"].get("receipts_forged") is not None, "they are counted"
    )
    forger.disconnect()
    forger.loop_stop()
    assert deployment.waiting() >= 3


def test_off_is_off(deployment):
    """P6 on the running daemon: no byte is written, the connection is gone; on again starts with a whole window."""
    deployment.seed(windows=1)
    deployment.start_aggregator()
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.made() >= 3 and deployment.waiting() == 0, "it works")
    assert deployment.discreet("agent", "off", "--config", deployment.agent_toml).returncode == 0
    deployment.wait_until(lambda: deployment.status()["state"] == "off", "off is seen")
    time.sleep(1.2)
    folder = deployment.folder / "agent"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Listener(deployment.port, "#") as listener:
        assert ask(deployment.socket, line())["refused"][0]["reason"] == "CONSENT_OFF"
        time.sleep(2.5)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert deployment.status()["broker"].startswith("not connected")
        assert listener.envelopes == []
    assert deployment.discreet("agent", "on", "--config", deployment.agent_toml).returncode == 0
    deployment.wait_until(lambda: deployment.status()["broker"] == "connected", "on is seen")
    assert ask(deployment.socket, line()) == {"ok": 1}
