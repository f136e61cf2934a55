"""What an operator sees of refused input on a running agent: rule and shape, how often, and never a value."""

import json
import time

import pytest

from discreet_agent.ask import ask

TERMS = (
    ("    retention: 2d\n", "    retention: 2d\n    max_per_minute: 3\n"),
    ("lateness: 0s\n", "lateness: 0s\ncontracts:\n  door.opened: {latency: 1m, max_refused: 0.5}\n"),
    ("      side: {", "      rooms: {type: number, min: 0, max: 9, default: 1}\n      side: {"),
    ("    version: 1-0-0\n", "    version: 2-0-0\n    accepts: [1-0-0]\n"),
)


def line(version="1-0-0", **fields):
    at = time.time_ns() // 1_000_000
    fields = {"seconds": 1, "side": "left"} | fields
    return json.dumps({"signal": "door.opened", "version": version, "time": at, "fields": fields}).encode()


def quarantine(deployment, *options):
    return deployment.discreet("agent", "quarantine", "--config", deployment.agent_toml, *options)


@pytest.fixture
def running(deployment):
    """An agent under a policy with a rate limit, a contract and an older version that is lifted."""
    (deployment.folder / "policy.json").write_bytes(deployment.release(*TERMS))
    deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent listens")
    return deployment


def test_the_quarantine_says_what_was_wrong_and_can_be_cleared(running):
    """Asked at once, before anything was written; nothing that a sender made up is shown."""
    for refused in (line(side="planted-1"), line(side="planted-22"), b'{"planted": "planted"}', line("2-0-0")):
        assert ask(running.socket, refused)["ok"] == 0
    shown = quarantine(running)
    found = json.loads(quarantine(running, "--json").stdout)["quarantine"]

    assert {(row["reason"], row["count"]) for row in found} == {
        ("UNKNOWN_CATEGORY", 2),
        ("MALFORMED", 1),
        ("MISSING_FIELD", 1),
    }
    assert "2 × UNKNOWN_CATEGORY: side is none of the declared values" in shown.stdout
    assert "door.opened 1-0-0; seconds number, side text ≤ 16" in shown.stdout
    assert "rooms is required" in shown.stdout
    assert "at most 32 bytes" in shown.stdout
    assert "planted" not in shown.stdout + json.dumps(found)

    assert "cleared: 3" in quarantine(running, "--clear").stdout
    assert quarantine(running).stdout == "nothing is in quarantine\n"


def test_an_older_version_is_lifted_limited_and_held_to_its_contract(running):
    """Three a minute and sender; the fourth is told when to come again, and `status` says that the contract holds."""
    answers = [ask(running.socket, line()) for _ in range(4)]
    assert answers[:3] == [{"ok": 1}] * 3
    [refused] = answers[3]["refused"]
    assert refused["reason"] == "RATE_LIMITED"
    assert "door.opened takes 3 events a minute from one sender (max_per_minute); 1 asked, 0 left" in refused["detail"]

    contract = running.status()["contracts"]["door.opened"]
    assert (contract["events"], contract["refused"], contract["kept"]) == (4, 1, True)
    text = running.discreet("agent", "status", "--config", running.agent_toml).stdout
    assert "contract  door.opened: kept: as promised" in text
    exported = running.discreet("agent", "export", "--config", running.agent_toml).stdout.splitlines()
    stored = [json.loads(row) for row in exported]
    assert [row["fields"]["rooms"] for row in stored if row["table"] == "raw_events"] == [1.0] * 3


def test_off_keeps_the_quarantine_as_it_is(running):
    """Nothing is written while off, deletions included; what to do instead is said."""
    ask(running.socket, line(side="planted"))
    running.discreet("agent", "off", "--config", running.agent_toml)
    done = quarantine(running, "--clear")

    assert done.returncode == 1
    assert "CONSENT_OFF" in done.stderr
    assert "discreet agent purge" in done.stderr
