"""A running daemon fed as apps feed it: netcat, the Python client, the shell; by whom the policy names only."""

import json
import os
import shutil
import subprocess
import time

import pytest

from deployment import Deployment
from discreet_agent.client import Client
from needs import need
from other_user import as_root, speak_as

EVENT = {"signal": "door.opened", "version": "1-0-0", "fields": {"seconds": 1, "side": "left"}}
ALICE, BOB = 31_001, 31_002


@pytest.fixture
def deployment(tmp_path):
    """Without its broker: taking events needs none."""
    deployment = Deployment(tmp_path, "embedded")
    yield deployment
    deployment.close()


def line(**changes):
    return json.dumps(EVENT | {"time": time.time_ns() // 1_000_000} | changes)


def running(deployment):
    """Start the agent."""
    deployment.start_agent()
    deployment.wait_until(deployment.socket.exists, "the agent listens")


def counters(deployment, name):
    return deployment.status()["counters"].get(name, {})


def obey(deployment, senders):
    """Release a policy with these senders; returns when the agent obeys it."""
    (deployment.folder / "policy.json").write_bytes(
        deployment.release(("lateness: 0s\n", f"{senders}\nlateness: 0s\n"))
    )
    deployment.wait_until(lambda: deployment.status()["policy"]["version"] == 2, "the new policy is in force")


def test_netcat_feeds_a_running_daemon(deployment):
    """A line, an answer; a greeting, none."""
    nc = shutil.which("nc")
    need(nc, "netcat is not installed (apt-get install netcat-openbsd)")
    running(deployment)

    def netcat(*lines):
        said = "\n".join(lines)  # the last one without an end
        return subprocess.run(
            [nc, "-NU", str(deployment.socket)], input=said, capture_output=True, text=True, timeout=20, check=True
        ).stdout

    answers = netcat(line(), "nonsense", json.dumps({"events": [json.loads(line()), 7]}))
    assert [json.loads(answer)["ok"] for answer in answers.splitlines()] == [1, 0, 1]
    assert netcat('{"answers": false}', line(), "nonsense") == ""
    deployment.wait_until(lambda: counters(deployment, "events_accepted") == {"": 3}, "everything is on disk")
    deployment.wait_until(lambda: counters(deployment, "events_refused") == {"MALFORMED": 3}, "refusals are counted")


def test_the_client_and_the_shell_feed_a_running_daemon(deployment):
    """Also across a restart of the agent: nothing lost, nothing twice; a correction is taken."""
    running(deployment)
    with Client(deployment.socket) as client:
        for _ in range(100):
            client.emit("door.opened", "1-0-0", EVENT["fields"])
        assert client.flush()
        deployment.kill("agent")
        taken_back, *_ = [client.emit("door.opened", "1-0-0", EVENT["fields"]) for _ in range(100)]
        running(deployment)
        assert client.flush(30)
        client.retract(taken_back, "door.opened", "1-0-0")
        client.emit("door.opened", "1-0-0", {"seconds": -1, "side": "left"})
        assert client.flush()
        stats = client.stats()
    assert (stats.sent, stats.dropped) == (201, {"OUT_OF_BOUNDS": 1})

    options = ["--signal", "door.opened", "--version", "1-0-0", "--field", "seconds=3", "--field", "side=left"]
    done = deployment.discreet("agent", "emit", "--config", deployment.agent_toml, *options)
    assert (done.returncode, done.stdout) == (0, "ok 1, refused 0\n")
    assert counters(deployment, "events_accepted") == {"": 201}
    assert counters(deployment, "events_retracted") == {"": 1}


@as_root
def test_who_the_policy_names_may_speak_from_the_moment_it_is_obeyed(deployment):
    """On open connections too; root may go on, and ask; others can do neither."""
    deployment.socket.parent.chmod(0o711)
    toml = deployment.folder / "agent.toml"
    toml.write_text(f'socket_mode = "0666"\n{toml.read_text()}')
    running(deployment)
    assert speak_as(deployment.socket, BOB, line()) == [{"ok": 1}]

    obey(deployment, f"senders: {{app: {{uid: {ALICE}, signals: [door.opened]}}}}")
    assert speak_as(deployment.socket, ALICE, line()) == [{"ok": 1}]
    [refused] = speak_as(deployment.socket, BOB, line())
    assert refused["refused"][0]["reason"] == "SENDER_UNKNOWN"
    [asked] = speak_as(deployment.socket, ALICE, '{"query": "sent"}')
    assert asked["error"] == "QUERY_NOT_ALLOWED"
    done = deployment.discreet("agent", "emit", "--config", deployment.agent_toml, line())
    assert done.returncode == 0
    deployment.wait_until(lambda: counters(deployment, "events_refused") == {"SENDER_UNKNOWN": 1}, "it is counted")
    assert counters(deployment, "events_accepted") == {"": 3}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('socket_group = "nobody-has-this"', "no group"),
        ('socket_mode = "0777"', "agent.toml:1"),
        ("socket_mode = 7", ""),
    ],
)
def test_a_socket_that_cannot_be_as_configured_stops_the_start(deployment, setting, says):
    """With the next step, and the exit code of a wrong configuration."""
    toml = deployment.folder / "agent.toml"
    toml.write_text(f"{setting}\n{toml.read_text()}")
    done = deployment.discreet("agent", "run", "--config", deployment.agent_toml)
    assert done.returncode == 3, done.stderr
    assert says in done.stderr + done.stdout
    assert "next: " in done.stderr


def test_mode_and_group_hold_for_the_running_daemon(deployment):
    toml = deployment.folder / "agent.toml"
    toml.write_text(f'socket_mode = "0606"\n{toml.read_text()}')
    running(deployment)
    deployment.wait_until(lambda: deployment.socket.stat().st_mode & 0o777 == 0o606, "the mode is set")
    assert deployment.socket.stat().st_gid == os.getegid()
