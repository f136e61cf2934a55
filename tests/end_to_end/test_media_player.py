"""The media player of the examples, on a running agent: what was watched changes what its app gets, at once."""

import json
import re
import time
from contextlib import closing
from http.client import HTTPConnection

import pytest

from deployment import free_port
from discreet_agent.ask import ask
from documents import ROOT

MEDIA = ROOT / "policies" / "examples" / "media.yaml"
FLAGS = "/ofrep/v1/evaluate/flags"
RUNNING = (("start: 2027-07-29", "start: 2026-01-01"), ("end: 2027-12-16", "end: 2028-06-01"))


@pytest.fixture
def player(lone):
    """A running agent under the example's policy, with the experiment's dates around today and everybody in it."""
    lone.address = f"127.0.0.1:{free_port()}"
    lone.configure_agent(http=lone.address)
    deliver(lone, *RUNNING, ("traffic: 20%", "traffic: 95%"))
    start(lone)
    return lone


def deliver(lone, *edits):
    text = MEDIA.read_text(encoding="utf-8").replace("consent: opt-in", "consent: managed")
    text = re.sub(r"from: 2026-10-01", "from: 2020-01-01", text)
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    (lone.folder / "policy.json").write_bytes(lone.release_text(text))


def start(lone):
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("state") == "on", "the agent is on")


def watched(lone, seconds, *, hours=1.0, evening=False):
    """Something was played; durable when this returns."""
    event = {
        "signal": "playback.stopped",
        "version": "1-1-0",
        "time": int((time.time() - hours * 3600) * 1000),
        "fields": {"genre": "drama", "seconds": seconds, "evening": evening},
    }
    assert ask(lone.socket, json.dumps(event).encode()) == {"ok": 1}


def evaluated(lone, flag):
    connection = HTTPConnection(lone.address, timeout=5)
    with closing(connection):
        connection.request("POST", f"{FLAGS}/{flag}", "{}", {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())


def test_rows_become_personal_with_the_event_and_stay(player):
    """More than ten hours in a week: the first question after the event, after a restart, after a new policy."""
    assert evaluated(player, "rows")["variant"] == "editorial"
    watched(player, 36_500)
    assert evaluated(player, "rows")["variant"] == "personal"
    before = evaluated(player, "autoplay")["variant"]

    player.kill("agent")
    start(player)
    assert evaluated(player, "rows")["variant"] == "personal"
    assert evaluated(player, "autoplay")["variant"] == before

    deliver(player, *RUNNING, ("traffic: 20%", "traffic: 95%"), ("top: 3}", "top: 2}"))
    player.wait_until(lambda: player.asked()["policy"]["version"] == 2, "the new policy is obeyed")
    assert evaluated(player, "rows")["variant"] == "personal"
    assert evaluated(player, "autoplay")["variant"] == before


def test_the_owner_reads_why(player):
    """Features, segments, experiments and the explanation, as the commands print them."""
    watched(player, 36_500, evening=True)
    shown = {name: command(player, name) for name in ("features", "segments", "experiments", "flags")}
    assert re.search(r"minutes_7d +36500", shown["features"])
    assert re.search(r"top_genres +\{?.*drama", shown["features"])
    assert re.search(r"binge +yes", shown["segments"])
    assert re.search(
        r"autoplay-2027 +autoplay +(on|off)? .*(takes part|held out of the layer|not drawn)", shown["experiments"]
    )
    explained = command(player, "explain", "rows")
    assert "binge" in explained
    assert "36500" in explained
    assert "gives editorial" in command(player, "flags", "pin", "rows", "editorial", "--reason", "a guest")
    assert evaluated(player, "rows")["variant"] == "editorial"
    assert "follows its targeting" in command(player, "flags", "unpin", "rows")
    assert evaluated(player, "rows")["variant"] == "personal"
    assert re.search(r"pinned +rows +a guest", command(player, "flags", "moves"))


def command(lone, *arguments):
    done = lone.discreet("agent", *arguments, "--config", lone.agent_toml)
    assert done.returncode == 0, done.stderr
    return done.stdout
