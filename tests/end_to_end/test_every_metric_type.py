"""Every metric type of the policy language on the demonstration's path, from events to figures."""

import json
import subprocess
import time
from contextlib import contextmanager

import pytest
from nacl.signing import SigningKey

from deployment import DISCREET, accepts, free_port
from discreet_aggregator.keys import new_key
from every_metric import METRICS, START, people, policy_text, truth

DEVICES = 150
EPSILON = 6.0  # strong enough that 150 devices would show a fault; weak enough that all noise is there
STANDARD_ERRORS = 6.0  # two-sided 2e-9 for a normal figure; some 80 figures


@pytest.fixture
def folder(tmp_path):
    """Keys, log, bundle, configuration, events."""
    key = SigningKey.generate()
    (tmp_path / "root.key").write_text(key.encode().hex())
    public = new_key(tmp_path / "keys", "k1")
    (tmp_path / "policy.yaml").write_text(policy_text(public, EPSILON))
    root = key.verify_key.encode().hex()
    return tmp_path, root


def discreet(*arguments):
    """Run one command to its end; what it printed."""
    command = [DISCREET, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(log, *arguments):
    """A command that serves until it is ended."""
    with log.open("wb") as output, subprocess.Popen([DISCREET, *map(str, arguments)], stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()


def test_every_metric_type_reaches_its_truth(folder):
    """A hundred and fifty real devices replayed; every label of every metric lies near its truth, nothing is lost."""
    path, root = folder
    log = path / "releases"
    discreet("policy", "release", path / "policy.yaml", "--log", log, "--key", path / "root.key")
    discreet("policy", "publish", "--log", log, "--output", path / "policy.json")
    fleet = people(DEVICES, seed=7)
    with (path / "events.jsonl").open("w") as lines:
        for number, plays in enumerate(fleet):
            lines.write(json.dumps({"device": f"d{number}", "lines": [play.line() for play in plays]}) + "\n")
    port = free_port()
    (path / "clock").write_text(str(START * 1000))
    (path / "aggregator.toml").write_text(
        f'fleet = "everything"\nstate_dir = "aggregator"\nkeys_dir = "keys"\npolicies = ["releases"]\n'
        f'roots = ["{root}"]\nreplay_clock = "clock"\n[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
    )
    plan = {
        "policy": str(path / "policy.json"),
        "roots": [root],
        "broker": {"url": f"mqtt://127.0.0.1:{port}"},
        "events": str(path / "events.jsonl"),
        "state_dir": str(path / "devices"),
        "clock": str(path / "clock"),
        "first_window": START,
        "workers": 1,
    }
    (path / "plan.json").write_text(json.dumps(plan))
    with running(path / "broker.log", "aggregator", "dev-broker", "--port", str(port)):
        deadline = time.monotonic() + 20
        while not accepts(port):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with running(path / "aggregator.log", "aggregator", "run", "--config", str(path / "aggregator.toml")):
            totals = json.loads(discreet("agent", "replay", path / "plan.json"))
    rows = json.loads(discreet("aggregator", "metrics", "--json", "--config", path / "aggregator.toml"))["metrics"]

    assert totals["reports_made"] == totals["reports_settled"] == DEVICES * len(METRICS)
    assert {row["metric"] for row in rows} == set(METRICS)
    assert {row["devices"] for row in rows} == {DEVICES}
    check_figures(rows, truth(fleet))


def check_figures(rows, wanted):
    """Each figure with a standard error lies within six of them around its truth; quantiles lie in their range."""
    far = []
    for row in rows:
        if row["standard_error"] is None:
            assert row["low"] <= row["estimate"] <= row["high"]
            continue
        distance = abs(row["estimate"] - wanted.get((row["metric"], row["label"]), 0.0))
        if distance > STANDARD_ERRORS * row["standard_error"]:
            far.append((row["metric"], row["label"], row["estimate"], row["standard_error"]))
    assert far == []
    labels = {(row["metric"], row["label"]) for row in rows}
    missing = {key for key in wanted if key not in labels and key != ("title", "unlisted")}
    assert missing == set()
    assert {"median", "p90"} <= {row["label"] for row in rows if row["metric"] == "seconds"}
