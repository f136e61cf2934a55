"""`discreet agent emit` against a real receiver: three ways to say an event, and what each exit code means."""

import hashlib
import json
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from discreet_agent.cli.commands import agent
from discreet_agent.event import EventRefusal, Refused
from discreet_contract.errors import AgentUnreachableError
from discreet_contract.policy.operation import Sender
from receiving import Recorder, receiving

EVENT = '{"signal": "door.opened", "version": "1-0-0", "time": 1}'
IN_OPTIONS = ("--signal", "door.opened", "--version", "1-0-0")
SESAME = "open sesame"


@pytest.fixture
def place():
    """A configuration, and the socket that it names."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own paths are too long for a socket
        config = Path(folder) / "agent.toml"
        config.write_text(
            f'policy = "p"\nroots = ["{"0" * 64}"]\nsocket = "agent.sock"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n'
        )
        yield config, Path(folder) / "agent.sock"


def emit(place, *arguments, stdin="", recorder=None, senders=None):
    """Run the command beside a receiver; returns (exit code, standard output, standard error, events)."""
    config, path = place
    recorder = recorder or Recorder()
    with receiving(path, recorder, senders):
        done = CliRunner().invoke(agent, ["emit", "--config", str(config), *arguments], input=stdin)
    return done.exit_code, done.stdout, done.stderr, recorder.events


def test_one_event_said_in_options(place):
    """Values are numbers, true and false where they read like them; what is not said is left out or now."""
    fields = [
        "seconds=3.5",
        "side=left",
        "wide=true",
        'code="007"',
        "name=007",
        "odd=NaN",
        "empty=",
        "none=null",
        "a=b=c",
    ]
    options = [part for field in fields for part in ("--field", field)]
    code, said, _, [event] = emit(place, *IN_OPTIONS, *options)

    assert (code, said) == (0, "ok 1, refused 0\n")
    assert event.fields == {
        "seconds": 3.5,
        "side": "left",
        "wide": True,
        "code": "007",
        "name": "007",
        "odd": "NaN",
        "empty": "",
        "none": "null",
        "a": "b=c",
    }
    assert abs(event.time - time.time() * 1000) < 60_000
    assert (event.id, event.retracts) == (None, None)


def test_time_id_and_correction_in_options(place):
    _, _, _, [event] = emit(place, *IN_OPTIONS, "--time", "1357673700000", "--id", "mine")
    assert (event.time, event.id) == (1357673700000, "mine")
    _, _, _, [event] = emit(place, *IN_OPTIONS, "--time", "2013-01-08T19:35:00Z", "--retracts", "mine")
    assert (event.time, event.retracts) == ("2013-01-08T19:35:00Z", "mine")


def test_one_argument_and_lines_from_standard_input(place):
    """A blank line is none; an argument may have line ends in it."""
    assert len(emit(place, EVENT.replace(", ", ",\n"))[3]) == 1
    code, said, _, events = emit(place, stdin=f"{EVENT}\n\n{EVENT}\n")
    assert (code, said, len(events)) == (0, "ok 2, refused 0\n", 2)


def test_a_refusal_says_which_line_and_why(place):
    code, said, errors, events = emit(place, stdin=f"{EVENT}\nnonsense\n")
    assert (code, said, len(events)) == (1, "ok 1, refused 1\n", 1)
    assert errors.startswith("  line 2, event 0: MALFORMED: ")

    code, said, errors, _ = emit(place, "--json", stdin="nonsense\n")
    assert (code, errors, json.loads(said)["refused"][0]["line"]) == (1, "", 1)


def test_a_full_disk_is_trouble_that_may_pass(place):
    recorder = Recorder(lambda _event: Refused(EventRefusal.STORE_UNAVAILABLE, "full"))
    assert emit(place, EVENT, recorder=recorder)[0] == 6


def test_with_no_wait_nothing_is_said_and_refusals_are_only_counted(place):
    recorder = Recorder()
    code, said, errors, _ = emit(place, "--no-wait", stdin=f"{EVENT}\nnonsense\n" * 100, recorder=recorder)
    assert (code, said, errors) == (0, "", "")
    deadline = time.monotonic() + 5
    while len(recorder.events) + len(recorder.refusals) < 200 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (len(recorder.events), len(recorder.refusals)) == (100, 100)


def test_a_token_is_read_from_a_file(place, tmp_path):
    """The wrong one is refused first, with the place that it was said at."""
    token = tmp_path / "token"
    token.write_text(f"{SESAME}\n")
    app = {"app": Sender(token_sha256=hashlib.sha256(SESAME.encode()).hexdigest(), signals=("door.opened",))}
    recorder = Recorder()
    assert emit(place, "--token-file", str(token), EVENT, recorder=recorder, senders=app)[:2] == (
        0,
        "ok 1, refused 0\n",
    )
    assert recorder.senders == ["app", "app"]

    token.write_text("wrong")
    code, said, errors, _ = emit(place, "--token-file", str(token), EVENT, senders=app)
    assert (code, said) == (1, "ok 0, refused 2\n")
    assert errors.splitlines()[0].startswith("  token: SENDER_UNKNOWN: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("",),
        ("--signal", "door.opened"),
        ("--field", "a=1"),
        (*IN_OPTIONS, "--field", "seconds"),
        (*IN_OPTIONS, "--field", "=3"),
        (*IN_OPTIONS, EVENT),
    ],
)
def test_an_event_said_by_halves_is_a_usage_error(place, arguments):
    """Nothing is sent."""
    code, _, errors, events = emit(place, *arguments)
    assert (code, events) == (2, [])
    assert "Usage:" in errors


@pytest.mark.parametrize("arguments", [(*IN_OPTIONS, "--field", "name=caf\udce9"), ('{"signal": "caf\udce9"}',)])
def test_bytes_that_are_no_text_are_a_usage_error(place, arguments):
    """As a shell hands them over; the agent would call the whole line no JSON."""
    code, _, complaint, events = emit(place, *arguments)
    assert (code, events) == (2, [])
    assert "UTF-8" in complaint


def test_a_number_that_no_float_holds_is_text(place):
    """So that the answer names the field."""
    _, _, _, [event] = emit(place, *IN_OPTIONS, "--field", "seconds=1e999")
    assert event.fields == {"seconds": "1e999"}


@pytest.mark.parametrize("option", [[], ["--no-wait"]])
def test_no_agent_is_said_with_the_next_step(place, option):
    done = CliRunner().invoke(agent, ["emit", "--config", str(place[0]), *option, EVENT])
    assert isinstance(done.exception, AgentUnreachableError)
    assert "agent run" in done.exception.hint
