"""A real receiver on a real socket, in its own thread, with a recorder that keeps what it is given."""

import asyncio
import json
import os
import socket
import threading
from contextlib import contextmanager

from discreet_agent.event import EventLine, Refused
from discreet_agent.receive.door import Door
from discreet_agent.receive.socket import SocketReceiver
from discreet_agent.senders import Senders


class Recorder:
    """Keeps what it is given; refuses what was refused before, and what `refuse` says."""

    def __init__(self, refuse=lambda _item: None):
        self.groups = []
        self.senders = []
        self._refuse = refuse

    def __call__(self, batches):
        received = [item for batch in batches for item in batch.items]
        self.senders += [batch.sender for batch in batches]
        self.groups.append(received)
        return [item if isinstance(item, Refused) else self._refuse(item) for item in received]

    @property
    def events(self):
        """Every event that came, refused by `refuse` or not."""
        return [item for group in self.groups for item in group if isinstance(item, EventLine)]

    @property
    def refusals(self):
        """Reasons of what was refused before it came here."""
        return [item.reason for group in self.groups for item in group if isinstance(item, Refused)]


def talk(path, *lines):
    """Send lines, say that there are no more; returns every answer."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        peer.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        peer.shutdown(socket.SHUT_WR)
        return [json.loads(answer) for answer in peer.makefile("rb").read().splitlines()]


@contextmanager
def receiving(path, recorder, senders=None, mode=0o660, apps=None):
    """Serve `path` until the block ends."""
    known = Senders(senders or {}, os.geteuid())
    started, stopped = threading.Event(), threading.Event()

    async def serve():
        receiver = SocketReceiver(
            Door(path, mode), recorder, lambda query: {"you asked": query.name}, lambda: known, apps=apps
        )
        await receiver.start()
        started.set()
        await asyncio.to_thread(stopped.wait)
        await receiver.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(5)
    try:
        yield
    finally:
        stopped.set()
        thread.join()
