"""Server-sent events: a stream is told of changes, soon and once; it costs nobody anything who does not read."""

import contextlib
import json
import socket
import time

import pytest

from discreet_agent.receive import ofrep_events
from serving import READER, TOKEN, serving

EVENTS = "/ofrep/v1/events"


class Stream:
    """A client that reads server-sent events from a socket of its own."""

    def __init__(self, address, *headers, small_buffer=False):
        host, port = address.split(":")
        self.socket = socket.socket()
        if small_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.socket.settimeout(5)
        self.socket.connect((host, int(port)))
        lines = [f"GET {EVENTS} HTTP/1.1", f"Host: {address}", "Accept: text/event-stream", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.read = b""
        self.head = self._until(b"\r\n\r\n").decode()

    def _until(self, mark):
        while mark not in self.read:
            more = self.socket.recv(4096)
            if not more:
                raise EOFError
            self.read += more
        found, _, self.read = self.read.partition(mark)
        return found

    def block(self):
        """One block of the stream: fields by name."""
        lines = self._until(b"\n\n").decode().split("\n")
        return dict(line.split(": ", 1) if not line.startswith(":") else (":", line) for line in lines)

    def event(self):
        """The next event's data."""
        while True:
            block = self.block()
            if "data" in block:
                return block | {"data": json.loads(block["data"])}

    def is_silent(self, seconds):
        """Whether nothing comes."""
        self.socket.settimeout(seconds)
        try:
            self.read += self.socket.recv(4096)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(5)
        return False

    def close(self):
        self.socket.close()


@pytest.fixture
def served():
    with serving() as served:
        yield served


@pytest.fixture
def stream(served):
    with listening(served) as stream:
        yield stream


def listening(served, *headers, **options):
    return contextlib.closing(Stream(served.address, *headers, **options))


def until(condition):
    ends = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_stream_begins_with_an_event_so_that_no_change_is_missed(stream):
    """What changed between the client's question and its stream would be lost otherwise."""
    assert stream.head.startswith("HTTP/1.1 200 OK")
    assert "Content-Type: text/event-stream" in stream.head
    assert "Content-Length" not in stream.head
    assert stream.block() == {"retry": "2000"}
    event = stream.event()
    assert event["event"] == "message"
    assert event["data"] == {"type": "refetchEvaluation", "etag": event["id"]}


def test_a_client_that_has_seen_the_present_state_is_left_in_peace(served, stream):
    seen = stream.event()["id"]
    with listening(served, f"Last-Event-ID: {seen}") as again:
        assert again.block() == {"retry": "2000"}
        assert again.is_silent(0.3)
        served.do(served.apps.change)
        assert again.event()["id"] != seen


def test_a_change_is_told_at_once(served, stream):
    stream.event()
    begun = time.monotonic()
    served.do(served.apps.change)
    assert stream.event()["data"]["type"] == "refetchEvaluation"
    assert time.monotonic() - begun < 1


def test_many_changes_within_a_moment_are_one_event(served, stream):
    stream.event()

    def change():
        for _ in range(100):
            served.apps.change()

    served.do(change)
    assert stream.event()["data"]["type"] == "refetchEvaluation"
    assert stream.is_silent(0.3)


def test_word_that_something_may_have_changed_is_no_event_where_nothing_has(served, stream):
    stream.event()
    served.do(served.apps.stir)
    assert stream.is_silent(0.3)


def test_a_change_outside_the_scope_is_not_told():
    """Not even that there was one."""
    with serving({"player": READER}) as served, listening(served, f"Authorization: Bearer {TOKEN}") as stream:
        stream.event()

        def hide():
            del served.apps.flags["rows"]
            served.apps.stir()

        served.do(hide)
        assert stream.is_silent(0.3)


def test_where_the_policys_senders_change_every_client_has_to_ask_anew():
    """A token that is no longer anybody's must not go on hearing."""
    with serving({"player": READER}) as served, listening(served, f"Authorization: Bearer {TOKEN}") as stream:
        stream.event()
        served.policy.senders = {}
        served.do(served.apps.stir)
        with pytest.raises(EOFError):
            stream.event()


def test_a_stream_without_changes_is_kept_alive(served, monkeypatch):
    monkeypatch.setattr(ofrep_events, "HEARTBEAT_SECONDS", 0.1)
    with listening(served) as stream:
        stream.event()
        assert stream.block() == {":": ":"}
        assert stream.block() == {":": ":"}


def test_the_last_client_leaves_nothing_behind(served):
    streams = [Stream(served.address) for _ in range(3)]
    until(lambda: len(served.apps.listeners) == 1)
    for stream in streams:
        stream.close()
    until(lambda: not served.apps.listeners)
    assert served.do(lambda: len(served.edge._server.connections)) == 0


def test_streams_are_few_and_one_more_is_asked_to_poll(served):
    streams = [Stream(served.address) for _ in range(ofrep_events.MAX_STREAMS)]
    status, answer, headers = served.ask("GET", EVENTS)
    assert (status, headers["Retry-After"]) == (429, "1")
    assert "poll instead" in answer["errorDetails"]
    streams.pop().close()
    until(lambda: served.ask("HEAD", EVENTS)[0] == 200)
    for stream in streams:
        stream.close()


def test_what_a_client_says_while_it_listens_is_not_looked_at(served, stream):
    stream.event()
    stream.socket.sendall(b"GET /v1/features HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    served.do(served.apps.change)
    assert stream.event()["data"]["type"] == "refetchEvaluation"


def test_a_client_that_does_not_read_is_hung_up_on(served, monkeypatch):
    """What it does not take is kept by the kernel, never here."""
    monkeypatch.setattr(ofrep_events, "DEBOUNCE_SECONDS", 0.0)
    with listening(served, small_buffer=True):
        until(lambda: len(served.apps.listeners) == 1)

        def fill():
            for client in list(served.edge._server.connections):
                client._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
                client.send(b":" * 4_000_000 + b"\n\n")
                assert client._transport.get_write_buffer_size() > 0

        served.do(fill)
        served.do(served.apps.change)
        until(lambda: not served.apps.listeners)


def test_the_edge_ends_at_once_with_streams_open():
    with serving() as served:
        stream = Stream(served.address)
        stream.event()
        begun = time.monotonic()
    assert time.monotonic() - begun < 1
    stream.close()


def test_a_store_that_cannot_be_read_now_ends_streams(served, stream):
    stream.event()
    served.apps.is_out_of_order = True
    served.do(served.apps.stir)
    with pytest.raises(EOFError):
        stream.event()
    assert served.ask("GET", EVENTS)[0] == 500
