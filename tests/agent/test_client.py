"""The client that apps copy: against real receivers that come, go, refuse and stay silent."""

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from discreet_agent import client as module
from discreet_agent.client import Client
from discreet_agent.event import EventRefusal, Refused
from discreet_contract.policy.operation import Sender
from receiving import Recorder, receiving

FIELDS = {"seconds": 1}
DOOR = ("door.opened", "1-0-0")
SESAME = "open sesame"


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "agent.sock"


class Forgetful(Recorder):
    """Knows ids, as the agent does; has its disk full for as many groups as it is told."""

    def __init__(self, full=0):
        super().__init__()
        self.known = {}
        self.full = full

    def __call__(self, batches):
        items = [item for batch in batches for item in batch.items]
        self.groups.append(items)
        if self.full:
            self.full -= 1
            return [Refused(EventRefusal.STORE_UNAVAILABLE, "full")] * len(items)
        return [self._take(item) for item in items]

    def _take(self, item):
        if isinstance(item, Refused):
            return item
        if item.id in self.known:
            return Refused(EventRefusal.DUPLICATE, "known")
        self.known[item.id] = item
        return None


def test_events_arrive_with_ids_and_times(path):
    """Given ones stay; the others are made."""
    recorder = Recorder()
    with receiving(path, recorder), Client(path) as client:
        given = client.emit(*DOOR, FIELDS, time="2026-11-23T08:00:00Z", id="mine")
        made = client.emit(*DOOR, {"side": "left", "wide": True})
        taken_back = client.retract("mine", *DOOR)
        assert client.flush()
        assert client.stats() == module.Stats(sent=3, waiting=0, dropped={}, resent=0)

    first, second, third = recorder.events
    assert (first.id, first.time, first.fields) == ("mine", "2026-11-23T08:00:00Z", FIELDS)
    assert (second.id, second.fields) == (made, {"side": "left", "wide": True})
    assert abs(second.time - time.time() * 1000) < 60_000
    assert (third.id, third.retracts) == (taken_back, "mine")
    assert given == "mine"
    assert len({first.id, second.id, third.id}) == 3


def test_many_events_are_few_batches(path):
    """In order."""
    recorder = Recorder()
    with receiving(path, recorder), Client(path) as client:
        events = [{"signal": "door.opened", "version": "1-0-0", "fields": {"seconds": n}} for n in range(2000)]
        assert all(client.emit_many(events))
        assert client.flush()

    assert [event.fields["seconds"] for event in recorder.events] == list(range(2000))
    assert len(recorder.groups) <= 10


def test_without_an_agent_nothing_blocks_and_the_queue_is_bounded(path):
    """What is beyond is dropped and counted, by events and by bytes."""
    client = Client(path, max_events=100)
    began = time.perf_counter()
    results = [client.emit(*DOOR, FIELDS) for _ in range(1000)]
    assert time.perf_counter() - began < 1
    assert sum(result is not None for result in results) == 100
    assert client.stats().dropped == {"QUEUE_FULL": 900}
    assert not client.flush(0.1)

    began = time.perf_counter()
    client.close(5)
    assert time.perf_counter() - began < 3
    assert client.stats() == module.Stats(0, 0, {"QUEUE_FULL": 900, "NO_AGENT": 100}, 0)

    small = Client(path, max_bytes=1000)
    assert sum(small.emit(*DOOR, {"text": "x" * 200}) is not None for _ in range(10)) == 3
    small.close(0)


def test_what_was_emitted_before_the_agent_came_is_sent_when_it_comes(path):
    """Within the back-off."""
    recorder = Recorder()
    with Client(path) as client:
        client.emit(*DOOR, FIELDS)
        time.sleep(0.3)
        with receiving(path, recorder):
            assert client.flush(10)
    assert len(recorder.events) == 1


def test_a_refusal_is_counted_by_the_agents_own_reason(path):
    """The rest of its batch is taken."""
    recorder = Recorder(lambda event: Refused(EventRefusal.OUT_OF_BOUNDS, "x") if event.fields["seconds"] > 5 else None)
    with receiving(path, recorder), Client(path) as client:
        for seconds in range(10):
            client.emit(*DOOR, {"seconds": seconds})
        client.emit("x" * 100, "1-0-0", FIELDS)
        client.flush()
    assert client.stats() == module.Stats(6, 0, {"OUT_OF_BOUNDS": 4, "MALFORMED": 1}, 0)


def test_a_full_disk_is_tried_again(path):
    """It is the one refusal that passes."""
    recorder = Forgetful(full=2)
    with receiving(path, recorder), Client(path) as client:
        client.emit(*DOOR, FIELDS)
        assert client.flush(10)
        assert client.stats() == module.Stats(sent=1, waiting=0, dropped={}, resent=2)
    assert len(recorder.groups) == 3


def test_an_unanswered_batch_is_sent_again_and_counts_once(path):
    """The agent stored it and died before it could say so."""
    recorder = Forgetful()
    with socket.socket(socket.AF_UNIX) as deaf, Client(path) as client:
        deaf.bind(str(path))
        deaf.listen()
        for _ in range(3):
            client.emit(*DOOR, FIELDS)
        peer, _ = deaf.accept()
        said = peer.makefile("rb").readline()
        for event in json.loads(said)["events"][:2]:
            recorder.known[event["id"]] = event
        peer.close()
        deaf.close()
        path.unlink()
        with receiving(path, recorder):
            assert client.flush(10)
        assert client.stats() == module.Stats(sent=3, waiting=0, dropped={}, resent=3)
    assert len(recorder.known) == 3


def test_an_id_used_twice_by_the_app_is_its_own_mistake(path):
    """Only a resend may be known already."""
    with receiving(path, Forgetful()), Client(path) as client:
        client.emit(*DOOR, FIELDS, id="same")
        client.flush()
        client.emit(*DOOR, FIELDS, id="same")
        client.flush()
    assert client.stats() == module.Stats(1, 0, {"DUPLICATE": 1}, 0)


class Nasty(dict):
    """Fields that raise when they are looked at."""

    def values(self):
        raise RuntimeError("planted")


@pytest.mark.parametrize(
    "fields",
    [
        {"a": object()},
        {"a": float("nan")},
        {"a": [1]},
        {"a": {"b": 1}},
        {1: b"x"},
        7,
        "text",
        Nasty(a=1),
        {"a": 1j},
        {"a": "caf\udce9"},  # a file's name as `os.listdir` gives it where it is not UTF-8
        {"caf\udce9": 1},
    ],
    ids=range(11),
)
def test_values_that_no_event_has_do_not_reach_the_app_as_exceptions(path, fields):
    """Nor the agent, where they would spoil their neighbours' line."""
    recorder = Recorder()
    with receiving(path, recorder), Client(path) as client:
        assert client.emit(*DOOR, fields) is None
        assert client.emit(*DOOR, FIELDS) is not None
        client.flush()
    assert client.stats().dropped == {"NOT_JSON": 1}
    assert len(recorder.events) == 1


def test_a_huge_event_is_dropped_here(path):
    client = Client(path)
    assert client.emit(*DOOR, {"text": "x" * 70_000}) is None
    assert client.stats().dropped == {"TOO_LARGE": 1}


def test_a_closed_client_counts_what_comes_after(path):
    """Closing twice is fine, before anything happened too."""
    client = Client(path)
    client.close()
    client.close()
    assert client.emit(*DOOR, FIELDS) is None
    assert client.stats().dropped == {"CLOSED": 1}


def test_a_token_is_shown_at_every_connect(path):
    recorder = Recorder()
    import hashlib

    app = Sender(token_sha256=hashlib.sha256(SESAME.encode()).hexdigest(), signals=("door.opened",))
    with Client(path, token=SESAME) as client:
        for _ in range(2):
            with receiving(path, recorder, {"app": app}):
                client.emit(*DOOR, FIELDS)
                assert client.flush(10)
        client.emit("door.closed", "1-0-0", FIELDS)
        with receiving(path, recorder, {"app": app}):
            assert client.flush(10)
    assert [sender for sender in recorder.senders if sender] == ["app"] * len(recorder.senders)
    assert client.stats() == module.Stats(2, 0, {"SIGNAL_NOT_ALLOWED": 1}, client.stats().resent)


@pytest.mark.parametrize("answer", [b"hello\n", b"{}\n", b"[1]\n", b'{"ok": "many"}\n', b'{"ok": 1, "refused": 3}\n'])
def test_something_else_on_the_socket_does_no_harm(path, answer):
    """Not an agent: tried again, dropped at the end."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        client = Client(path)
        client.emit(*DOOR, FIELDS)
        peer, _ = other.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(answer)
            time.sleep(0.1)
        other.close()
        client.close(1)
    assert client.stats().dropped == {"NO_AGENT": 1}


def test_all_threads_may_emit(path):
    """Nothing is lost between them."""
    recorder = Recorder()
    with receiving(path, recorder), Client(path) as client:
        threads = [threading.Thread(target=lambda: [client.emit(*DOOR, FIELDS) for _ in range(500)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(10)
    assert len({event.id for event in recorder.events}) == 4000


def test_a_signal_handler_may_emit_in_the_midst_of_emit(path):
    """No deadlock."""
    recorder = Recorder()
    with receiving(path, recorder), Client(path) as client:
        before = signal.signal(signal.SIGALRM, lambda *_: client.emit(*DOOR, FIELDS))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            for _ in range(3000):
                client.emit(*DOOR, FIELDS)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert client.flush(10)
        assert client.stats().sent > 3000
    assert len(recorder.events) == client.stats().sent


FORK = """
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("copied", sys.argv[1])
copied = importlib.util.module_from_spec(spec); sys.modules["copied"] = copied; spec.loader.exec_module(copied)
client = copied.Client(sys.argv[2])
for _ in range(100):
    client.emit("door.opened", "1-0-0", {"who": "parent"})
child = os.fork()
for _ in range(50):
    client.emit("door.opened", "1-0-0", {"who": "child" if child == 0 else "parent"})
if child == 0:
    client.close()
    os._exit(0 if client.stats().sent == 50 else 7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_the_file_alone_works_across_a_fork_and_sends_the_rest_at_exit(path):
    """Copied somewhere else, run without this project's packages; each event once, from whom it was."""
    recorder = Recorder()
    copied = path.with_name("copied.py")
    copied.write_text(Path(module.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    with receiving(path, recorder):
        command = [sys.executable, "-I", "-S", "-c", FORK, str(copied), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = [event.fields["who"] for event in recorder.events]
    assert (said.count("parent"), said.count("child")) == (150, 50)
    assert len({event.id for event in recorder.events}) == 200


def test_it_imports_the_standard_library_only():
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_without_a_path_it_speaks_where_the_agent_listens(tmp_path, monkeypatch):
    """The user's own agent if there is one, else the machine's."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert module._default_path() == "/run/discreet/agent.sock"
    (tmp_path / "discreet").mkdir()
    (tmp_path / "discreet" / "agent.sock").touch()
    assert module._default_path() == os.fspath(tmp_path / "discreet" / "agent.sock")
