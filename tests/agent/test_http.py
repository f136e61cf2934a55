"""The HTTP edge: every bound holds, foreign pages are turned away, answers come in order."""

import asyncio
import gzip
import json
import socket
import time
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployment import free_port
from discreet_agent.receive import http, http_connection
from discreet_agent.receive.http import HttpServer
from discreet_agent.receive.http_guard import Address, parse_address
from discreet_agent.receive.http_messages import (
    ANYONE,
    JSON,
    MAX_CONTENT_BYTES,
    HttpRefusal,
    RequestRefusedError,
    Response,
    Route,
)
from discreet_agent.senders import Speaker
from discreet_contract.errors import ConfigError

TOKEN = "a-token-of-the-tests"  # noqa: S105


def anyone(_token):
    return ANYONE


def only_token(token):
    return Speaker("player", None) if token == TOKEN else None


class Edge:
    """A server on a free port, with three routes, and raw conversations with it."""

    def __init__(self, identify):
        self.address = Address("127.0.0.1", free_port())
        self.served = []
        self.server = HttpServer(
            self.address,
            (
                Route("POST", "/echo", self._echo, consumes=(JSON,)),
                Route("GET", "/hello", self._echo),
                Route("GET", "/under/*", self._echo),
                Route("GET", "/slow", self._slow),
                Route("GET", "/waiting", self._waiting),
                Route("GET", "/broken", self._broken),
            ),
            identify,
        )
        self.failures = []

    async def _echo(self, request):
        content = request.content()
        self.served.append(request)
        said = {"bytes": len(content), "sender": request.speaker.name, "tail": request.tail, "query": request.query}
        return Response(HTTPStatus.OK, JSON, json.dumps(said).encode())

    async def _slow(self, request):
        await asyncio.sleep(0.05)
        return await self._echo(request)

    async def wait(self):
        """What `/waiting` waits for."""

    async def _waiting(self, request):
        await self.wait()
        return await self._echo(request)

    async def _broken(self, _request):
        raise RuntimeError("a fault of the tests")

    @property
    def host(self):
        return str(self.address)

    def head(self, line, *headers, host=None):
        lines = [line, f"Host: {host or self.host}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    def post(self, body, *headers, path="/echo"):
        return self.head(f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", *headers) + body

    async def say(self, content, *, until_closed=True):
        """Send bytes, read until the server closes."""
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        writer.write(content)
        try:
            if until_closed:
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@asynccontextmanager
async def running(identify=anyone):
    edge = Edge(identify)
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: edge.failures.append(context))
    await edge.server.start()
    try:
        yield edge
    finally:
        await edge.server.close()
        assert edge.server.buffered_bytes == 0
        assert not edge.server.connections


def ask(content, *, identify=anyone):
    """One conversation; `content` is bytes, or makes them from the edge. Returns (answer, edge)."""

    async def conversation():
        async with running(identify) as edge:
            said = content(edge) if callable(content) else content
            return await edge.say(said), edge

    return asyncio.run(conversation())


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


def test_a_request_is_answered_and_the_connection_goes_on():
    """Three requests in one write: three answers, in order, the slow one first."""
    answer, edge = ask(
        lambda e: (
            e.head("GET /slow HTTP/1.1") + e.post(b"{}", f"Content-Type: {JSON}") + e.head("GET /hello?a=1 HTTP/1.1")
        )
    )
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert [request.path for request in edge.served] == ["/slow", "/echo", "/hello"]
    assert edge.served[2].query == "a=1"


def test_a_route_for_everything_under_a_path_gets_the_rest():
    answer, _ = ask(lambda e: e.head("GET /under/a%20b/c HTTP/1.1"))
    assert json.loads(answer.split(b"\r\n\r\n")[1])["tail"] == "a b/c"


def test_a_chunked_body_is_taken():
    body = b"2\r\n{}\r\n3;extension=1\r\n   \r\n0\r\nTrailer: x\r\n\r\n"
    answer, _ = ask(
        lambda e: e.head("POST /echo HTTP/1.1", "Transfer-Encoding: chunked", f"Content-Type: {JSON}") + body
    )
    assert json.loads(answer.split(b"\r\n\r\n")[1])["bytes"] == 5


def test_a_client_that_waits_is_told_to_go_on():
    """Expect: 100-continue."""

    async def conversation():
        async with running() as edge:
            reader, writer = await asyncio.open_connection(edge.address.host, edge.address.port)
            head, body = edge.post(b"{}", f"Content-Type: {JSON}", "Expect: 100-continue").split(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n")
            interim = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            writer.write(body)
            final = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            writer.close()
            return interim, final

    interim, final = asyncio.run(conversation())
    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert status_of(final) == 200


def test_a_wish_for_another_protocol_is_ignored():
    """Some clients ask for HTTP/2 on the way; the body is read all the same, and the connection goes on."""
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    answer, edge = ask(lambda e: e.post(b"{ }", f"Content-Type: {JSON}", *wish) + e.head("GET /hello HTTP/1.1"))
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert len(edge.served[0].body) == 3


@pytest.mark.parametrize(
    "request_line", [b"CONNECT a:1 HTTP/1.1\r\n\r\n", b"GET /hello HTTP/1.1\r\nUpgrade:a\r\nConnection:upgrade\r\n\r\n"]
)
def test_a_pipeline_of_wishes_is_worked_off(request_line):
    """As many as fit into one read; the first one that is refused ends it."""
    _, edge = ask(request_line * 1000)
    assert edge.failures == []
    assert sum(edge.server.refused.values()) == 1


def test_head_is_answered_without_a_body():
    answer, _ = ask(lambda e: e.head("HEAD /hello HTTP/1.1"))
    head, body = answer.split(b"\r\n\r\n")
    assert status_of(answer) == 200
    assert b"Content-Length: " in head
    assert body == b""


def test_an_old_client_is_answered_and_hung_up_on():
    answer, _ = ask(lambda e: e.head("GET /hello HTTP/1.0"))
    assert status_of(answer) == 200
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    ("line", "headers", "reason"),
    [
        ("GET /nowhere HTTP/1.1", (), HttpRefusal.NOT_FOUND),
        ("DELETE /hello HTTP/1.1", (), HttpRefusal.METHOD_NOT_ALLOWED),
        ("OPTIONS /hello HTTP/1.1", (), HttpRefusal.METHOD_NOT_ALLOWED),
        ("POST /echo HTTP/1.1", (f"Content-Type: {JSON}",), HttpRefusal.LENGTH_REQUIRED),
        ("POST /echo HTTP/1.1", (f"Content-Type: {JSON}", "Content-Length: 4194305"), HttpRefusal.BODY_TOO_LARGE),
        ("POST /echo HTTP/1.1", ("Content-Type: text/plain", "Content-Length: 0"), HttpRefusal.MEDIA_TYPE),
        ("POST /echo HTTP/1.1", (f"Content-Type: {JSON}", "Content-Encoding: br"), HttpRefusal.MEDIA_TYPE),
        ("POST /echo HTTP/1.1", ("Transfer-Encoding: gzip, chunked",), HttpRefusal.TRANSFER_CODING),
        ("GET /hello HTTP/1.1", ("Expect: tea",), HttpRefusal.EXPECTATION),
        ("GET http://example.org/hello HTTP/1.1", (), HttpRefusal.BAD_REQUEST),
        ("CONNECT example.org:443 HTTP/1.1", (), HttpRefusal.BAD_REQUEST),
        ("GET /hello HTTP/1.1", ("Content-Type: a", "Content-Type: b"), HttpRefusal.BAD_REQUEST),
        ("GET /hello HTTP/1.1", ("Content-Length: 1", "Transfer-Encoding: chunked"), HttpRefusal.BAD_REQUEST),
        ("GET /hello HTTP/2.0", (), HttpRefusal.BAD_REQUEST),
        ("POST /echo HTTP/1.1", ("X-Long: " + "x" * 20_000,), HttpRefusal.HEAD_TOO_LARGE),
        ("GET /hello?" + "x" * 20_000 + " HTTP/1.1", (), HttpRefusal.HEAD_TOO_LARGE),
    ],
)
def test_every_refusal_of_a_head_has_its_status_and_is_counted(line, headers, reason):
    answer, edge = ask(lambda e: e.head(line, *headers))
    assert status_of(answer) == reason.status
    assert b"Connection: close" in answer
    assert json.loads(answer.split(b"\r\n\r\n")[1])["message"].startswith(f"{reason.value}: ")
    assert edge.server.refused == {reason: 1}
    assert edge.served == []


def test_a_wrong_method_is_told_the_right_ones():
    answer, _ = ask(lambda e: e.head("PUT /hello HTTP/1.1"))
    assert b"\r\nAllow: GET, HEAD\r\n" in answer


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4318", "127.0.0.1", "localhost:1", "127.0.0.1.nip.io", ""]
)
def test_a_rebound_name_is_refused(host):
    """A page whose own name was made to point here still says its own name."""
    answer, edge = ask(lambda e: e.head("GET /hello HTTP/1.1", host=host or " "))
    assert status_of(answer) == 403
    assert edge.server.refused == {HttpRefusal.FOREIGN_HOST: 1}


def test_two_hosts_are_refused():
    answer, _ = ask(lambda e: e.head("GET /hello HTTP/1.1", f"Host: {e.host}", host="evil.example"))
    assert status_of(answer) == 400


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_our_own_names_are_served(name):
    answer, _ = ask(lambda e: e.head("GET /hello HTTP/1.1", host=f"{name}:{e.address.port}"))
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    "header",
    [
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: http://localhost:3000",
        "Origin: http://127.0.0.1",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
    ],
)
def test_another_site_is_refused(header):
    """Also one on this machine, on another port: its script is not the owner's."""
    answer, edge = ask(lambda e: e.head("GET /hello HTTP/1.1", header))
    assert status_of(answer) == 403
    assert edge.server.refused == {HttpRefusal.FOREIGN_ORIGIN: 1}
    assert b"Access-Control" not in answer


def test_our_own_pages_are_served():
    answer, _ = ask(lambda e: e.head("GET /hello HTTP/1.1", f"Origin: http://{e.host}", "Sec-Fetch-Site: same-origin"))
    assert status_of(answer) == 200


def test_a_token_is_wanted_where_senders_are_named():
    """Without one, with a wrong one, with the right one."""
    answer, edge = ask(lambda e: e.head("GET /hello HTTP/1.1"), identify=only_token)
    assert status_of(answer) == 401
    assert b"\r\nWWW-Authenticate: Bearer " in answer
    assert edge.server.refused == {HttpRefusal.NO_TOKEN: 1}
    answer, edge = ask(lambda e: e.head("GET /hello HTTP/1.1", "Authorization: Bearer wrong"), identify=only_token)
    assert edge.server.refused == {HttpRefusal.UNKNOWN_TOKEN: 1}
    _, edge = ask(lambda e: e.head("GET /hello HTTP/1.1", f"authorization: bearer {TOKEN}"), identify=only_token)
    assert [request.speaker.name for request in edge.served] == ["player"]


def test_gzip_is_unpacked_members_and_all():
    body = gzip.compress(b"{ ") + gzip.compress(b" }")
    answer, _ = ask(lambda e: e.post(body, f"Content-Type: {JSON}", "Content-Encoding: gzip"))
    assert json.loads(answer.split(b"\r\n\r\n")[1])["bytes"] == 4


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (gzip.compress(bytes(MAX_CONTENT_BYTES + 1)), HttpRefusal.BODY_TOO_LARGE),
        (gzip.compress(bytes(1_000_000_000 // 4), 9), HttpRefusal.BODY_TOO_LARGE),
        (gzip.compress(bytes(MAX_CONTENT_BYTES // 2)) * 3, HttpRefusal.BODY_TOO_LARGE),
        (gzip.compress(b"") * 17, HttpRefusal.BAD_REQUEST),
        (gzip.compress(b"{}")[:-4], HttpRefusal.BAD_REQUEST),
        (gzip.compress(b"{}") + b"rest", HttpRefusal.BAD_REQUEST),
        (b"{}", HttpRefusal.BAD_REQUEST),
    ],
    ids=["one byte over", "bomb", "three members", "many members", "cut", "rest", "none"],
)
def test_a_bomb_or_a_broken_gzip_is_refused(body, reason):
    """The size is counted while it grows; the connection goes on, for the request itself was whole."""
    answer, edge = ask(
        lambda e: e.post(body, f"Content-Type: {JSON}", "Content-Encoding: gzip") + e.head("GET /hello HTTP/1.1")
    )
    assert status_of(answer) == reason.status
    assert edge.server.refused == {reason: 1}
    assert answer.count(b"HTTP/1.1 200 OK") == 1


def test_a_body_that_grows_past_its_bound_is_cut_off():
    """Chunks without a stated length, 5 MB."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer, edge = ask(
        lambda e: e.head("POST /echo HTTP/1.1", "Transfer-Encoding: chunked", f"Content-Type: {JSON}") + chunk * 80
    )
    assert status_of(answer) == 413
    assert edge.served == []


def test_bodies_of_all_connections_together_are_bounded():
    """Twenty clients with 1 MB each, none of them complete: some are told to come again."""

    async def conversation():
        async with running() as edge:
            head = edge.head("POST /echo HTTP/1.1", "Content-Length: 1048577", f"Content-Type: {JSON}")
            clients = [await asyncio.open_connection(edge.address.host, edge.address.port) for _ in range(20)]
            for _, writer in clients:
                writer.write(head + bytes(1_048_576))
                await writer.drain()
            answers = [asyncio.ensure_future(reader.readuntil(b"\r\n\r\n")) for reader, _ in clients]
            done, waiting = await asyncio.wait(answers, timeout=10, return_when=asyncio.FIRST_COMPLETED)
            refused = done.pop().result()
            for answer in waiting:
                answer.cancel()
            held = edge.server.buffered_bytes
            for _, writer in clients:
                writer.close()
            return refused, held

    refused, held = asyncio.run(conversation())
    assert status_of(refused) == 503
    assert b"\r\nRetry-After: 1\r\n" in refused
    assert held <= http.MAX_BUFFERED_BYTES


def test_one_connection_too_many_takes_the_place_of_the_one_that_is_idle_for_longest():
    async def conversation():
        async with running() as edge:
            clients = [
                await asyncio.open_connection(edge.address.host, edge.address.port)
                for _ in range(http.MAX_CONNECTIONS + 1)
            ]
            assert await asyncio.wait_for(clients[0][0].read(), 5) == b""
            clients[-1][1].write(edge.head("GET /hello HTTP/1.1"))
            answer = await asyncio.wait_for(clients[-1][0].readuntil(b"\r\n\r\n"), 5)
            assert len(edge.server.connections) <= http.MAX_CONNECTIONS
            for _, writer in clients:
                writer.close()
            return answer

    assert status_of(asyncio.run(conversation())) == 200


async def one_more(edge, content):
    """What the edge says to one more client, beside as many as it takes that have sent this."""
    clients = [await asyncio.open_connection(edge.address.host, edge.address.port) for _ in range(http.MAX_CONNECTIONS)]
    for _, writer in clients:
        writer.write(content)
    await asyncio.sleep(0.2)
    try:
        return await edge.say(edge.head("GET /hello HTTP/1.1"))
    except OSError:
        return b""
    finally:
        for _, writer in clients:
            writer.close()


def test_where_every_connection_is_being_served_one_more_is_hung_up_on(monkeypatch):
    async def conversation():
        async with running() as edge:
            release = asyncio.Event()
            monkeypatch.setattr(edge, "wait", release.wait)
            said = await one_more(edge, edge.head("GET /waiting HTTP/1.1"))
            release.set()
            return said, dict(edge.server.refused)

    said, refused = asyncio.run(conversation())
    assert said == b""
    assert refused[HttpRefusal.BUSY] == 1


def test_slow_clients_do_not_keep_others_out():
    """Requests that were begun and never end take all places: the oldest of them gives its own to the next client."""

    async def conversation():
        async with running() as edge:
            return await one_more(edge, b"GET"), dict(edge.server.refused)

    said, refused = asyncio.run(conversation())
    assert status_of(said) == 200
    assert refused[HttpRefusal.BUSY] == 1


def test_bodies_that_never_end_do_not_keep_others_out():
    """Four clients hold all the room that there is for bodies; the next one, which needs less, is served."""

    async def conversation():
        async with running() as edge:
            head = edge.head("POST /echo HTTP/1.1", f"Content-Length: {4 * 2**20}", f"Content-Type: {JSON}")
            clients = [await asyncio.open_connection(edge.address.host, edge.address.port) for _ in range(4)]
            for _, writer in clients:
                writer.write(head + bytes(4 * 2**20 - 1))
                await writer.drain()
            await asyncio.sleep(0.2)
            said = await edge.say(edge.post(b" " * 1000, f"Content-Type: {JSON}"))
            for _, writer in clients:
                writer.close()
            return said

    assert status_of(asyncio.run(conversation())) == 200


@pytest.mark.parametrize(("part", "limit"), [("head", "HEAD_SECONDS"), ("body", "REQUEST_SECONDS")])
def test_a_slow_client_is_told_so_and_hung_up_on(monkeypatch, part, limit):
    """Slow loris: a byte now and then does not keep a connection alive."""
    monkeypatch.setattr(http_connection, limit, 0.3)

    async def conversation():
        async with running() as edge:
            reader, writer = await asyncio.open_connection(edge.address.host, edge.address.port)
            request = edge.post(b"x" * 1000, f"Content-Type: {JSON}")
            start = time.monotonic()
            at = 0 if part == "head" else request.index(b"\r\n\r\n") + 4
            writer.write(request[:at])
            while time.monotonic() - start < 2 and not reader._buffer:
                writer.write(request[at : at + 1])
                at += 1
                await asyncio.sleep(0.02)
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            return answer, time.monotonic() - start

    answer, seconds = asyncio.run(conversation())
    assert status_of(answer) == 408
    assert seconds < 1.5


def test_an_idle_connection_is_closed_without_a_word(monkeypatch):
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.1)

    async def conversation():
        async with running() as edge:
            return await edge.say(b"", until_closed=False)

    assert asyncio.run(conversation()) == b""


def test_a_client_that_does_not_read_its_answers_is_let_go(monkeypatch):
    """Its requests are not taken on, either."""
    monkeypatch.setattr(http_connection, "WRITE_SECONDS", 0.3)

    async def conversation():
        async with running() as edge:
            with socket.socket() as client:
                client.setblocking(False)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, (edge.address.host, edge.address.port))
                request = edge.head("GET /hello HTTP/1.1")
                sending = asyncio.ensure_future(loop.sock_sendall(client, request * 200_000))
                await asyncio.sleep(3)
                gone = not edge.server.connections
                sending.cancel()
                return gone, len(edge.served)

    gone, served = asyncio.run(conversation())
    assert gone
    assert served < 100_000


def test_an_idle_client_that_left_an_answer_unread_is_let_go(monkeypatch):
    """Closing waits until everything is written, which such a client can put off for ever."""
    monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(http_connection, "LINGER_SECONDS", 0.3)

    async def conversation():
        async with running() as edge:
            with socket.socket() as client:
                client.setblocking(False)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(client, (edge.address.host, edge.address.port))
                await asyncio.sleep(0.05)
                [connection] = edge.server.connections
                connection._transport.set_write_buffer_limits(64_000_000)
                connection._write(b" " * 32_000_000)
                assert connection._transport.get_write_buffer_size() > 0
                await asyncio.sleep(1)
                return not edge.server.connections

    assert asyncio.run(conversation())


def test_a_fault_in_a_handler_reaches_the_loop():
    """The daemon ends loudly rather than go on half alive."""
    _, edge = ask(lambda e: e.head("GET /broken HTTP/1.1"))
    assert [type(context["exception"]) for context in edge.failures] == [RuntimeError]


def test_nothing_of_a_request_is_printed():
    """P1: neither by a request nor by a refusal."""
    _, edge = ask(lambda e: e.post(b'"planted-value"', f"Content-Type: {JSON}"))
    assert "planted" not in repr(edge.served[0])
    assert "planted" not in str(RequestRefusedError(HttpRefusal.BAD_REQUEST, "the rule"))


@pytest.mark.parametrize("text", ["127.0.0.1:4318", "[::1]:4318", "localhost:80", "127.1.2.3:1"])
def test_loopback_addresses_are_taken(text):
    assert parse_address(text).port in (4318, 80, 1)


@pytest.mark.parametrize(
    "text",
    ["0.0.0.0:4318", "192.168.1.2:4318", "[::]:4318", "example.org:80", "127.0.0.1", "127.0.0.1:0", "::1:x", ":80"],
)
def test_any_other_address_is_refused(text):
    """With the key's name and what to write instead."""
    with pytest.raises(ConfigError, match="http") as raised:
        parse_address(text)
    assert "127.0.0.1:4318" in raised.value.hint


def test_a_taken_port_is_said():
    async def conversation():
        async with running() as edge:
            with pytest.raises(ConfigError, match="cannot listen"):
                await HttpServer(edge.address, (), anyone).start()

    asyncio.run(conversation())


HEADS = st.one_of(
    st.binary(max_size=400),
    st.lists(
        st.sampled_from(
            [
                b"GET /hello HTTP/1.1\r\n",
                b"POST /echo HTTP/1.1\r\n",
                b"HEAD /under/%zz%ff HTTP/1.1\r\n",
                b"Host: localhost\r\n",
                b"HOST",
                b"Content-Length: 3\r\n",
                b"Content-Length: +3\r\n",
                b"Content-Length: 3, 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Content-Encoding: gzip\r\n",
                b"Content-Type: application/json; a\r\n",
                b"Content-Type: application/x-protobuf\r\n",
                b"Expect: 100-continue\r\n",
                b"Upgrade: h2c\r\nConnection: upgrade\r\n",
                b"Connection: close\r\n",
                b"Authorization: Bearer \xff\r\n",
                b"X: \x00\r\n",
                b"\xc3\xa9: 1\r\n",
                b" folded\r\n",
                b"\r\n",
                b"3\r\nabc\r\n",
                b"0\r\n\r\n",
                b"abc",
                b"\n",
            ]
        ),
        max_size=12,
    ).map(b"".join),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HEADS, min_size=1, max_size=8), st.lists(st.integers(1, 300), min_size=1, max_size=8))
def test_whatever_bytes_come_no_exception_escapes(conversations, cuts):
    """Whole, or cut in pieces; afterwards the edge serves on, and holds nothing."""

    async def converse():
        async with running() as edge:
            for drawn in conversations:
                content = drawn.replace(b"HOST", edge.head("")[2:-2])
                reader, writer = await asyncio.open_connection(edge.address.host, edge.address.port)
                at = 0
                for cut in cuts:
                    writer.write(content[at : at + cut])
                    at += cut
                    await asyncio.sleep(0)
                writer.write(content[at:])
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(), 5)
                assert not answer or answer.startswith(b"HTTP/1.1 ")
                writer.close()
            assert status_of(await edge.say(edge.head("GET /hello HTTP/1.1"))) == 200
            assert edge.failures == []

    asyncio.run(converse())
