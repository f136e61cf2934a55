"""What the commands print and how they end; in this process, through the same `main` as the entry point."""

from __future__ import annotations

import json
import socket

import pytest

from discreet_contract.cli.main import main
from discreet_contract.policy.compile import load_policy
from discreet_contract.policy.release import read_root_key, sign_policy

DAY = 86_400


@pytest.fixture
def run(capsys):
    """Runs one command; returns (exit code, standard output, standard error)."""

    def call(*words):
        code = 0
        try:
            main(["aggregator", *map(str, words)])
        except SystemExit as exc:
            code = int(exc.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def filled(where, fleet, pipeline, store):
    """A configuration whose database holds five devices' bits, one device's place, and a refusal."""
    place = fleet.policy.plans["place"].mechanism.randomize(0)
    envelopes = [fleet.seal(fleet.report(payload=bytes([number % 2]))) for number in range(5)]
    envelopes.append(fleet.seal(fleet.report(metric="place", mechanism="krr-1", payload=place)))
    envelopes.append(fleet.seal(fleet.report(payload=b"\x05")))
    pipeline.process(envelopes)
    store.close()
    (fleet.folder / "now").write_text(str(fleet.clock.now_ms()))
    return fleet.write_config(1, where, replay_clock='"now"')


def test_metrics_json(filled, run, fleet):
    """Every key the documentation promises, numbers only where they may be shown."""
    code, output, _ = run("metrics", "--json", "--config", filled)
    shown, withheld = json.loads(output)["metrics"]
    assert code == 0
    assert shown.keys() == withheld.keys()
    plan = fleet.policy.plans["any_trip"]
    assert shown | {"estimate": 0, "low": 0, "high": 0, "standard_error": 0} == {
        "metric": "any_trip",
        "metric_version": plan.version,
        "dimensions": {},
        "label": "yes",
        "window_start": "2023-08-31T00:00:00Z",
        "window_end": "2023-09-28T00:00:00Z",
        "estimate": 0,
        "low": 0,
        "high": 0,
        "standard_error": 0,
        "devices": 5,
        "epsilon": 1.0,
        "mechanism": "rr-1",
        "unit": "",
        "status": "provisional",
        "withheld": None,
        "policy_versions": [1],
        "level": 0.95,
        "estimand": "mean over the n devices that reported, this window; mechanism noise only",
    }
    assert shown["low"] < shown["estimate"] < shown["high"]
    assert withheld["withheld"] == "1 of 50"
    assert {withheld[name] for name in ("label", "estimate", "low", "high", "standard_error", "devices")} == {None}


def test_metrics_table(filled, run):
    """One aligned line a label, one line for what is withheld."""
    _, output, _ = run("metrics", "--config", filled)
    head, shown, withheld = output.splitlines()
    assert head.split()[:3] == ["metric", "label", "window"]
    assert shown.split()[:3] == ["any_trip", "yes", "2023-08-31"]
    assert "withheld: 1 of 50" in withheld
    _, output, _ = run("metrics", "--metric", "place", "--config", filled)
    assert "any_trip" not in output


def test_a_metric_whose_policy_is_gone_is_named(filled, run, fleet):
    """Sums that no loaded policy explains are not silently left out."""
    (fleet.folder / "policies" / "one.json").unlink()
    fleet.release("two", version=2)
    text = (fleet.folder / "two.yaml").read_text().replace("any_trip:", "other_trip:")
    (fleet.folder / "two.yaml").write_text(text)
    signed = sign_policy(load_policy(fleet.folder / "two.yaml"), [read_root_key(fleet.folder / "root.key")])
    (fleet.folder / "policies" / "two.json").write_bytes(signed)
    code, _, error = run("metrics", "--config", filled)
    assert code == 0
    assert "any_trip" in error


def test_refusals(filled, run):
    """Counts by day, metric and reason, as text and as JSON."""
    _, output, _ = run("refusals", "--json", "--config", filled)
    [row] = json.loads(output)["refusals"]
    assert row == {"day": "2023-09-28", "metric": "any_trip", "reason": "PAYLOAD_ILLEGAL", "count": 1}
    _, output, _ = run("refusals", "--config", filled)
    assert "PAYLOAD_ILLEGAL" in output


def test_watermark(filled, run):
    """Printed, and set by hand with a reason that stays."""
    code, _, error = run("watermark", "--set", "2030-01-01", "--config", filled)
    assert (code, "--reason" in error) == (2, True)
    assert run("watermark", "--set", "yesterday", "--reason", "x", "--config", filled)[0] == 2
    code, output, _ = run("watermark", "--set", "2030-01-01", "--reason", "tests", "--json", "--config", filled)
    assert code == 0
    told = json.loads(output)
    assert (told["now"], told["forgotten"], told["changes"][0]["reason"]) == ("2030-01-01T00:00:00Z", None, "tests")
    assert "now: 2030-01-01T00:00:00Z" in run("watermark", "--config", filled)[1]


@pytest.mark.parametrize("name", ["metrics", "refusals"])
def test_no_database_yet(fleet, run, name):
    """A reader that comes too early is told what to do."""
    code, _, error = run(name, "--config", fleet.write_config(1))
    assert code == 3
    assert "nothing was received yet" in error
    assert "discreet aggregator run" in error


def test_keys_new(fleet, run):
    """The public half, and the line for the policy; a second key of that name is refused."""
    config = fleet.write_config(1)
    code, output, _ = run("keys", "new", "k2", "--config", config)
    public = output.splitlines()[0]
    assert code == 0
    assert f'{{id: "k2", public_key: "{public}", from: 20' in output
    code, _, error = run("keys", "new", "k2", "--config", config)
    assert (code, "exists" in error) == (3, True)
    _, output, _ = run("keys", "new", "k3", "--json", "--config", config)
    assert json.loads(output).keys() == {"id", "public_key"}


def test_a_missing_configuration(run, tmp_path):
    """Exit code, file, line, and the next step."""
    code, _, error = run("run", "--config", tmp_path / "none.toml")
    assert code == 3
    assert "none.toml:1: cannot read the configuration" in error
    assert "next:" in error


@pytest.mark.parametrize("words", [("run",), ("metrics",), ("refusals",), ("keys", "new"), ("dev-broker",)])
def test_help_has_an_example(run, words):
    """Every command shows how it is called."""
    code, output, _ = run(*words, "--help")
    assert code == 0
    assert "Example:" in output
    assert f"discreet aggregator {' '.join(words)}" in output


def test_dev_broker_on_a_taken_port(run):
    """A port that somebody else listens on is a configuration error with its next step."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, error = run("dev-broker", "--port", taken.getsockname()[1])
    assert (code, "--port" in error) == (3, True)
