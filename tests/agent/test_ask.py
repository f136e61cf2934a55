"""What commands ask, against a real receiver in its own thread."""

import tempfile
from pathlib import Path

import pytest

from discreet_agent.ask import LINES_AT_ONCE, ask, ask_each
from discreet_contract.errors import AgentUnreachableError
from receiving import Recorder, receiving

EVENT = b'{"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 1}}'


@pytest.fixture
def path():
    """A socket that a receiver serves, recording everything that is an event."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.sock"
        with receiving(path, Recorder()):
            yield path


def test_one_line_one_answer(path):
    """Over a connection of its own."""
    assert ask(path, EVENT) == {"ok": 1}
    assert ask(path, b"{broken")["refused"][0]["reason"] == "MALFORMED"


def test_many_lines_keep_their_order(path):
    """More than the agent leaves unanswered at once."""
    lines = [b"{broken" if number % 7 == 0 else EVENT for number in range(5 * LINES_AT_ONCE + 3)]
    answers = list(ask_each(path, lines))

    assert [answer["ok"] for answer in answers] == [0 if line == b"{broken" else 1 for line in lines]


def test_no_agent_is_said_with_the_next_step(tmp_path):
    """Not a traceback."""
    with pytest.raises(AgentUnreachableError, match="no agent answers") as error:
        ask(tmp_path / "agent.sock", EVENT)
    assert "agent run" in error.value.hint
