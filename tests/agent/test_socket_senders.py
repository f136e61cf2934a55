"""The socket asks who speaks: users from the kernel, tokens by word, answers only to who wants them."""

import hashlib
import json
import os
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from discreet_agent.event import EventRefusal
from discreet_agent.receive.bounds import MAX_CONNECTIONS
from discreet_agent.receive.door import Door
from discreet_agent.receive.peer import peer_of
from discreet_contract.errors import ConfigError
from discreet_contract.policy.operation import Sender
from other_user import as_root, speak_as
from receiving import Recorder, receiving, talk

EVENT = {"signal": "door.opened", "version": "1-0-0", "time": 1, "fields": {"seconds": 1}}
STATUS = {"query": "status"}
ALICE, BOB, AUDIO = 31_001, 31_002, 31_029
SESAME = "open sesame"
BY_SESAME = Sender(token_sha256=hashlib.sha256(SESAME.encode()).hexdigest(), signals=("door.opened",))


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # other users may pass
        yield Path(folder) / "agent.sock"


def reasons(answers):
    return [[item["reason"] for item in answer.get("refused", [])] for answer in answers]


@as_root
def test_users_and_groups_are_told_apart_by_the_kernel(path):
    """Each is the sender whose entry it meets; a stranger is refused, whatever it says."""
    recorder = Recorder()
    closed = EVENT | {"signal": "door.closed"}
    alice, audio = Sender(uid=ALICE, signals=("door.opened",)), Sender(gid=AUDIO, signals=("door.closed",))
    with receiving(path, recorder, {"alice": alice, "audio": audio}, mode=0o666):
        assert speak_as(path, ALICE, EVENT) == [{"ok": 1}]
        assert reasons(speak_as(path, BOB, EVENT, "{broken")) == [["SENDER_UNKNOWN"], ["SENDER_UNKNOWN"]]
        assert reasons(speak_as(path, BOB, EVENT, groups=[AUDIO])) == [["SIGNAL_NOT_ALLOWED"]]
        assert speak_as(path, BOB, closed, gid=AUDIO) == [{"ok": 1}]
    assert recorder.senders == ["alice", "", "", "audio", "audio"]
    assert [event.signal for event in recorder.events] == ["door.opened", "door.closed"]


@as_root
def test_another_user_may_not_ask_about_the_agent(path):
    """Neither where it may emit, nor where everybody may."""
    with receiving(path, Recorder(), mode=0o666):
        answers = speak_as(path, ALICE, EVENT, STATUS, {"query": "sent"})
        own = talk(path, STATUS)

    assert answers == [{"ok": 1}, answers[1], answers[2]]
    assert [answer["error"] for answer in answers[1:]] == ["QUERY_NOT_ALLOWED"] * 2
    assert own == [{"you asked": "status"}]


@as_root
@pytest.mark.parametrize(
    "between", [[STATUS, STATUS], [{"answers": False}, {"answers": True}]], ids=["query", "answers"]
)
def test_a_sender_cannot_force_a_commit_for_each_line(path, between):
    """A commit each would keep all others waiting for the disk; answers come in order all the same."""
    recorder = Recorder()
    with receiving(path, recorder, mode=0o666):
        answers = speak_as(path, ALICE, *[line for _ in range(300) for line in (EVENT, *between)])

    assert len(recorder.events) == 300
    assert len(recorder.groups) < 150
    assert [answer.get("ok") for answer in answers] == {"query": [1, None, None], "answers": [1, 0]}[
        "query" if STATUS in between else "answers"
    ] * 300


@as_root
def test_a_user_who_takes_all_places_gives_one_to_another(path):
    """Or one program could shut the others out."""
    with receiving(path, Recorder(), mode=0o666), ExitStack() as greedy:
        for _ in range(MAX_CONNECTIONS):
            greedy.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        assert speak_as(path, ALICE, EVENT) == [{"ok": 1}]


def test_a_token_makes_a_sender_from_that_line_on(path):
    """Answered like a line of no events; a wrong one is refused with everything after it."""
    recorder = Recorder()
    other = EVENT | {"signal": "door.closed"}
    with receiving(path, recorder, {"app": BY_SESAME}):
        answers = talk(path, {"token": SESAME}, EVENT, other)
        wrong = talk(path, {"token": "planted-wrong-token"}, EVENT)

    assert answers[:2] == [{"ok": 0}, {"ok": 1}]
    assert reasons(answers)[2] == ["SIGNAL_NOT_ALLOWED"]
    assert reasons(wrong) == [["SENDER_UNKNOWN"], ["SENDER_UNKNOWN"]]
    assert "planted" not in json.dumps(wrong)
    assert recorder.senders == ["app", "app", "app", "", ""]


def test_where_no_senders_are_declared_a_token_does_no_harm(path):
    """A program may show its token before the policy that knows it arrives."""
    with receiving(path, Recorder()):
        assert talk(path, {"token": SESAME}, EVENT) == [{"ok": 0}, {"ok": 1}]


@pytest.mark.parametrize("greeting", [{"token": 7}, {"token": ""}, {"answers": "no"}, {"answers": False, "events": []}])
def test_a_greeting_of_another_form_is_malformed(path, greeting):
    """Also one that would lose the events beside it."""
    with receiving(path, Recorder()):
        assert reasons(talk(path, greeting, EVENT)) == [["MALFORMED"], []]


def test_who_wants_no_answers_gets_none(path):
    """Everything is recorded and refused all the same; lines before the greeting are answered."""
    recorder = Recorder()
    with receiving(path, recorder):
        answers = talk(path, EVENT, {"answers": False}, {"events": [EVENT] * 3}, 7, STATUS)

    assert answers == [{"ok": 1}]
    assert len(recorder.events) == 4
    assert recorder.refusals == [EventRefusal.MALFORMED]


def test_who_wants_no_answers_may_hang_up_at_once(path):
    """What a sender wrote before it closed is read to its end."""
    recorder = Recorder()
    with receiving(path, recorder):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(b'{"answers": false}\n' + (json.dumps(EVENT).encode() + b"\n") * 1500)
        deadline = time.monotonic() + 5
        while len(recorder.events) < 1500 and time.monotonic() < deadline:
            time.sleep(0.01)

    assert len(recorder.events) == 1500


def test_the_kernel_says_who_is_at_the_other_end():
    """Supplementary groups included."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert peer.uid == os.geteuid()
    assert peer.groups == {os.getegid(), *os.getgroups()}


def test_mode_and_group_are_as_configured(path):
    """From the moment on from which anybody can connect."""
    import grp

    own = grp.getgrgid(os.getegid()).gr_name
    with Door(path, 0o600, own).open():
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.stat().st_gid == os.getegid()
        with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as early:
            early.connect(str(path))


def test_a_group_that_is_not_there_is_said_with_the_next_step(path):
    with pytest.raises(ConfigError, match="no group 'nobody-has-this'") as error:
        Door(path, 0o660, "nobody-has-this").open()
    assert "groupadd" in error.value.hint
    assert not path.exists()
