"""A real HTTP edge on a free port, in a thread of its own, that serves personalization; and plain requests to it."""

import asyncio
import hashlib
import json
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from types import SimpleNamespace

from apps import MemoryApps
from deployment import free_port
from discreet_agent.receive.edge import HttpEdge
from discreet_contract.policy.operation import Sender
from receiving import Recorder

TOKEN = "token-of-the-player"  # noqa: S105
READER = Sender(
    token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest(),
    signals=("door.opened",),
    features=("minutes_7d",),
    segments=("binge",),
    flags=("autoplay", "columns"),
)


class Served:
    """The edge, and what stands behind it."""

    def __init__(self, senders=None, apps=None):
        self.apps = MemoryApps() if apps is None else apps
        self.recorder = Recorder()
        self.policy = SimpleNamespace(senders=senders or {}, signals={})
        self.address = f"127.0.0.1:{free_port()}"
        self.failures = []
        self.edge = HttpEdge(self.address, self.recorder, lambda: self.policy, lambda: 1_700_000_000_000, self.apps)
        self.loop = None

    def do(self, action):
        """In the edge's own thread."""

        async def acted():
            return action()

        return asyncio.run_coroutine_threadsafe(acted(), self.loop).result(5)

    def ask(self, method, path, body=None, headers=None):
        """(status, decoded answer, headers). `body` is JSON, or bytes as they are."""
        connection = HTTPConnection(self.address, timeout=10)
        try:
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            kind = {} if body is None else {"Content-Type": "application/json"}
            connection.request(method, path, sent, kind | (headers or {}))
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else None, answer.headers
        finally:
            connection.close()


@contextmanager
def serving(senders=None, apps=None):
    """Serve until the block ends; a failure that nobody expected fails the test."""
    served = Served(senders, apps)
    started, stopped = threading.Event(), threading.Event()

    async def serve():
        served.loop = asyncio.get_running_loop()
        served.loop.set_exception_handler(lambda _loop, context: served.failures.append(context))
        await served.edge.start()
        started.set()
        await asyncio.to_thread(stopped.wait)
        await served.edge.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(5)
    try:
        yield served
    finally:
        stopped.set()
        thread.join(10)
        assert not thread.is_alive()
    assert served.failures == []
