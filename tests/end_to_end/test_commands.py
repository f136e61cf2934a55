"""Missing and broken configurations and policies: a non-zero exit, the file and line, and what to do."""

import os
import subprocess
from pathlib import Path

import pytest

from deployment import DISCREET
from discreet_contract.errors import ExitCode

AGENT = ["agent", "run"], ["agent", "on"], ["agent", "off"], ["agent", "status"], ["agent", "sent"], ["agent", "ledger"]
EMIT = ["agent", "emit", "{}"]
AGGREGATOR = (
    ["aggregator", "run"],
    ["aggregator", "metrics"],
    ["aggregator", "refusals"],
    ["aggregator", "keys", "new", "k"],
)
POLICY = [["policy", "lint"], ["policy", "explain"]]


def run(*arguments, home):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")} | {
        "HOME": str(home)
    }
    command = [DISCREET, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)


def is_explained(done, code, *parts):
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert "next: " in done.stderr, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


@pytest.mark.parametrize("command", [*AGENT, EMIT, *AGGREGATOR], ids=" ".join)
def test_no_configuration(command, tmp_path):
    """Named or not."""
    is_explained(run(*command, "--config", tmp_path / "none.toml", home=tmp_path), ExitCode.CONFIG, "none.toml:1")
    if not Path("/etc/discreet").exists():
        is_explained(run(*command, home=tmp_path), ExitCode.CONFIG, "toml")


@pytest.mark.parametrize("command", [*AGENT, EMIT, *AGGREGATOR], ids=" ".join)
@pytest.mark.parametrize(
    ("content", "line"),
    [("a = \n", 1), ('state_dir = "s"\ncolour = "red"\n', 2), ("\n\nstate_dir = 7\n", 3), ("\xff", 1)],
    ids=["broken", "unknown key", "wrong type", "not UTF-8"],
)
def test_a_broken_configuration(command, content, line, tmp_path):
    """The line is named."""
    path = tmp_path / "c.toml"
    path.write_bytes(content.encode("latin-1"))
    is_explained(run(*command, "--config", path, home=tmp_path), ExitCode.CONFIG, f"c.toml:{line}")


@pytest.mark.parametrize("command", POLICY, ids=" ".join)
def test_a_missing_policy(command, tmp_path):
    """File and next step."""
    is_explained(run(*command, tmp_path / "p.yaml", home=tmp_path), ExitCode.CONFIG, "p.yaml:1")


def test_a_broken_policy_lists_every_problem(tmp_path):
    """On standard output, since that is what was asked for."""
    (tmp_path / "p.yaml").write_text("discreet: 2\nfleeet: x\n")
    done = run("policy", "lint", tmp_path / "p.yaml", home=tmp_path)

    assert done.returncode == ExitCode.POLICY
    assert "p.yaml:1:11: VALUE" in done.stdout
    assert "p.yaml:2:1: UNKNOWN_KEY unknown key 'fleeet'; did you mean 'fleet'?" in done.stdout


def test_an_agent_without_a_good_policy_does_not_start(tmp_path):
    """Unsigned, and signed by a stranger."""
    config = tmp_path / "agent.toml"
    (tmp_path / "p.json").write_text("{}")
    config.write_text(
        f'policy = "p.json"\nroots = ["{"0" * 64}"]\nstate_dir = "s"\n[broker]\nurl = "mqtt://127.0.0.1"\n'
    )
    is_explained(run("agent", "run", "--config", config, home=tmp_path), ExitCode.POLICY, "p.json:1", "FORM")


def test_commands_that_need_a_running_agent_say_so(tmp_path):
    """With an exit code of their own."""
    config = tmp_path / "agent.toml"
    config.write_text(f'policy = "p"\nroots = ["{"0" * 64}"]\nsocket = "s"\n[broker]\nurl = "mqtt://127.0.0.1"\n')
    for command in (["status"], ["emit", "{}"]):
        done = run("agent", *command, "--config", config, home=tmp_path)
        is_explained(done, ExitCode.UNREACHABLE, "no agent answers")


@pytest.mark.parametrize("url", ["http://x", "mqtt://example.org", "mqtt://u:p@127.0.0.1", "mqtt://127.0.0.1:99999"])
def test_a_broker_that_cannot_be_used(url, tmp_path):
    """Above all one that would be spoken to in the clear over a network."""
    config = tmp_path / "agent.toml"
    config.write_text(f'policy = "p"\nroots = ["{"0" * 64}"]\n[broker]\nurl = "{url}"\n')
    is_explained(run("agent", "run", "--config", config, home=tmp_path), ExitCode.CONFIG)
