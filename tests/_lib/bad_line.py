"""A TCP proxy that behaves badly when told to: bad_line.py LISTEN_PORT TO_PORT, one JSON object a line on stdin.

`delay`: seconds, at the most, that each piece waits. `reset`: odds a second that a connection is reset at both ends.
`hang`: odds a second that it goes half-open: the far end is closed, the near end is told nothing and heard by nobody.
A healthy line (all 0) resets what still hangs, as a gateway that was restarted does. What it did it says on stdout.
"""

import asyncio
import json
import random
import socket
import struct
import sys

TICK_SECONDS = 0.1
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
HEALTHY = {"delay": 0.0, "reset": 0.0, "hang": 0.0}


class Line:
    """What is wrong now, and the connections it is wrong with."""

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self.faults = dict(HEALTHY)
        self.counts = {"connections": 0, "delayed": 0, "reset": 0, "hung": 0}
        self.passing: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.hanging: set[asyncio.StreamWriter] = set()
        self.chance = random.SystemRandom()

    async def connected(self, reader, writer) -> None:
        """One connection of a client, until either end is gone."""
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to_port)
        except OSError:
            reset(writer)
            return
        self.counts["connections"] += 1
        pair = (writer, far_writer)
        self.passing.add(pair)
        ends = [asyncio.create_task(self.pump(reader, far_writer)), asyncio.create_task(self.pump(far_reader, writer))]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        self.passing.discard(pair)
        for end in ends:
            end.cancel()
        far_writer.close()
        if writer not in self.hanging:
            writer.close()

    async def pump(self, reader, writer) -> None:
        """Piece by piece, in order, each after its delay."""
        try:
            while piece := await reader.read(4096):
                if self.faults["delay"]:
                    self.counts["delayed"] += 1
                    await asyncio.sleep(self.chance.uniform(0, self.faults["delay"]))
                writer.write(piece)
                await writer.drain()
        except OSError:
            return

    async def misbehave(self) -> None:
        """Strike some connections now and then."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for pair in list(self.passing):
                if self.chance.random() < self.faults["reset"] * TICK_SECONDS:
                    self.counts["reset"] += 1
                    self.end(pair)
                elif self.chance.random() < self.faults["hang"] * TICK_SECONDS:
                    self.counts["hung"] += 1
                    self.hanging.add(pair[0])
                    reset(pair[1])
                    self.passing.discard(pair)

    def end(self, pair) -> None:
        """Both ends are told that it is over, and what was under way is lost."""
        self.passing.discard(pair)
        for writer in pair:
            reset(writer)

    def tell(self, line: bytes) -> None:
        """New orders; the answer is what happened so far."""
        self.faults = HEALTHY | json.loads(line)
        if self.faults == HEALTHY:
            while self.hanging:
                reset(self.hanging.pop())
        sys.stdout.write(json.dumps(self.counts) + "\n")
        sys.stdout.flush()


def reset(writer) -> None:
    """Close with RST."""
    own = writer.get_extra_info("socket")
    if own is not None and own.fileno() >= 0:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    writer.transport.abort()


async def main(listen_port: int, to_port: int) -> None:
    """Serve until stdin ends."""
    line = Line(to_port)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    server = await asyncio.start_server(line.connected, "0.0.0.0", listen_port)  # noqa: S104 - inside a namespace
    struck = asyncio.create_task(line.misbehave())
    async with server:
        while order := await orders.readline():
            line.tell(order)
    struck.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
