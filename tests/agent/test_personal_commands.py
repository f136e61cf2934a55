"""`discreet agent features, segments, flags, explain` against a real receiver: as text, as JSON, as the owner."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from apps import MemoryApps
from discreet_agent.cli.commands import agent
from discreet_contract.errors import AgentUnreachableError, ConfigError, PermanentError
from discreet_contract.policy.operation import Sender
from receiving import Recorder, receiving


@pytest.fixture
def place():
    """A configuration, and the socket that it names."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own paths are too long for a socket
        config = Path(folder) / "agent.toml"
        config.write_text(
            f'policy = "p"\nroots = ["{"0" * 64}"]\nsocket = "agent.sock"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'
        )
        yield config, Path(folder) / "agent.sock"


def run(place, command, *arguments, apps=None, senders=None):
    """Run a command beside a receiver."""
    config, path = place
    with receiving(path, Recorder(), senders, apps=MemoryApps() if apps is None else apps):
        return CliRunner().invoke(agent, [command, *arguments, "--config", str(config)])


def test_features_are_a_table_and_scores_follow(place):
    done = run(place, "features")
    assert done.exit_code == 0
    assert [line.split() for line in done.stdout.splitlines() if line] == [
        ["feature", "value", "as_of", "coverage", "note"],
        ["evenings", "unavailable", "2023-11-14T22:13:20.000Z", "0%", "unavailable"],
        ["minutes_7d", "630", "2023-11-14T22:13:20.000Z", "88%"],
        ["top_genres", "news", "4.5,", "sport", "1", "2023-11-14T22:13:20.000Z", "100%"],
        ["score", "value", "note"],
        ["evening", "0.25", "stands", "in", "for", "evenings"],
    ]


def test_segments_are_a_table(place):
    assert run(place, "segments").stdout.splitlines() == [
        "segment    inside  since",
        "binge      yes     2023-11-14T22:13:20.000Z",
        "night_owl  no      never inside",
    ]


def test_flags_are_a_table(place):
    said = run(place, "flags").stdout.splitlines()
    assert [line for line in said if line.startswith(("autoplay", "broken", "retired", "theme"))] == [
        "autoplay   on        true                                TARGETING_MATCH",
        "broken                                                   PARSE_ERROR: targeting names no variant",
        "retired              the app's own default               DISABLED",
        'theme      warm      {"colour": "red", "sizes": [1, 2]}  STATIC',
    ]


def test_an_explanation_is_said_line_by_line(place):
    apps = MemoryApps()
    told = {"flag": "autoplay", "rule": {"if": [True]}, "features": {}, "arms": [{"experiment": "a", "arm": "on"}, {}]}
    apps.explain = lambda *_: told
    assert run(place, "explain", "autoplay", apps=apps).stdout.splitlines() == [
        "flag: autoplay",
        "rule",
        "  if: [true]",
        "features: nothing",
        "arms",
        "  - experiment: a",
        "    arm: on",
        "  - nothing",
    ]


@pytest.mark.parametrize("command", [("features",), ("segments",), ("flags",), ("explain", "autoplay")])
def test_json_is_what_apps_get(place, command):
    read = json.loads(run(place, *command, "--json").stdout)
    known = {"features": {"features", "scores"}, "segments": {"segments"}, "flags": {"flags"}}
    assert set(read) == known.get(command[0], {"flag", "variant", "reason", "features"})


def test_a_context_goes_along(place):
    apps = MemoryApps()
    run(place, "flags", "--context", '{"country": "NL"}', apps=apps)
    run(place, "explain", "autoplay", "--context", '{"country": "BE"}', apps=apps)
    assert (apps.contexts[0], apps.contexts[-1]) == ({"country": "NL"}, {"country": "BE"})


@pytest.mark.parametrize("context", ["{", "[]", "7"])
def test_a_context_out_of_form_is_a_slip_of_the_pen(place, context):
    assert isinstance(run(place, "flags", "--context", context).exception, ConfigError)


def test_the_owner_sees_all_where_an_entry_states_its_user(place):
    senders = {"app": Sender(uid=os.geteuid(), flags=("autoplay",))}
    assert len(json.loads(run(place, "flags", "--json", senders=senders).stdout)["flags"]) > 1


def test_what_does_not_exist_is_said_and_fails(place):
    failed = run(place, "explain", "cows").exception
    assert isinstance(failed, PermanentError)
    assert "FLAG_NOT_FOUND" in str(failed)
    assert isinstance(run(place, "explain", "x" * 65).exception, ConfigError)


def test_without_an_agent_there_is_nobody_to_ask(place):
    done = CliRunner().invoke(agent, ["features", "--config", str(place[0])])
    assert isinstance(done.exception, AgentUnreachableError)


def test_a_policy_without_any_says_so(place):
    apps = MemoryApps(flags={}, features_={})
    apps.scores = apps.segments = lambda _speaker: []
    assert [run(place, name, apps=apps).stdout for name in ("features", "segments", "flags")] == [
        "the policy has no features\n",
        "the policy has no segments\n",
        "the policy has no flags\n",
    ]
