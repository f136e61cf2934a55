"""What the person whose device it is can do with its data: see all of it, have it forgotten, see that it was."""

import json
import time

import pytest

from discreet_agent.ask import ask

PLANTED = 77.25


@pytest.fixture
def fed(deployment):
    """A running agent that took three events."""
    deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent listens")
    now = time.time_ns() // 1_000_000
    for number in range(3):
        event = {"signal": "door.opened", "version": "1-0-0", "time": now - number, "id": f"mine-{number}"}
        line = json.dumps(event | {"fields": {"seconds": PLANTED, "side": "left"}}).encode()
        assert ask(deployment.socket, line) == {"ok": 1}
    return deployment


def exported(deployment):
    done = deployment.discreet("agent", "export", "--config", deployment.agent_toml)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("state", ["running", "off", "stopped"])
def test_everything_can_be_seen_and_forgotten(fed, state):
    """Export shows the events; purge ends them, whatever the agent does; the receipt says so."""
    rows = exported(fed)
    assert [row["fields"]["seconds"] for row in rows if row["table"] == "raw_events"] == [PLANTED] * 3
    assert {"schedule", "counters", "policies"} <= {row["table"] for row in rows}
    if state == "off":
        fed.discreet("agent", "off", "--config", fed.agent_toml)
    if state == "stopped":
        assert fed.stop("agent") == 0

    done = fed.discreet("agent", "purge", "--yes", "--config", fed.agent_toml)
    assert done.returncode == 0, done.stderr
    assert "3 raw events forgotten" in done.stdout
    assert [row for row in exported(fed) if row["table"] in {"raw_events", "tallies"}] == []
    shown = fed.discreet("agent", "forgotten", "--json", "--config", fed.agent_toml).stdout
    assert [(row["of"], row["items"], row["why"]) for row in json.loads(shown)["forgotten"]] == [
        ("door.opened", 3, "PURGED")
    ]
    assert "door.opened" in fed.discreet("agent", "forgotten", "--config", fed.agent_toml).stdout


def test_the_database_can_be_inspected(fed):
    """Tables and rows, and SQLite's own judgement."""
    done = fed.discreet("agent", "inspect", "--json", "--config", fed.agent_toml)
    answer = json.loads(done.stdout)
    assert answer["problems"] == []
    assert {"table": "raw_buckets", "rows": 1} in answer["tables"]
    assert "sound" in fed.discreet("agent", "inspect", "--config", fed.agent_toml).stdout


def test_a_slip_of_the_pen_is_no_purge(fed):
    """An unknown signal is named, with those that there are."""
    done = fed.discreet("agent", "purge", "--signal", "door.open", "--yes", "--config", fed.agent_toml)
    assert done.returncode == 3
    assert "door.opened" in done.stderr


def test_a_purge_must_be_meant(fed):
    """Without --yes it asks; a no changes nothing."""
    done = fed.discreet("agent", "purge", "--config", fed.agent_toml, stdin="n\n")
    assert done.returncode != 0
    assert len([row for row in exported(fed) if row["table"] == "raw_events"]) == 3
