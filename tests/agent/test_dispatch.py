"""What the connection's thread hands to the loop."""

import asyncio
import threading

from discreet_agent.dispatch import MOST_UNREAD, Mailbox


def test_a_flood_of_messages_takes_no_more_memory_than_a_few():
    """They come in another thread, faster than the loop reads; what finds no room is dropped, the rest is read."""
    read = []

    async def flood():
        loop, mailbox = asyncio.get_running_loop(), Mailbox(read.append)

        def put(first):
            for number in range(first, first + 10_000):
                mailbox.put(number.to_bytes(4, "big"), loop)

        for first in (0, 10_000):
            thread = threading.Thread(target=put, args=(first,))
            thread.start()
            thread.join()  # the loop stands still meanwhile
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    asyncio.run(flood())

    expected = [number for first in (0, 10_000) for number in range(first, first + MOST_UNREAD)]
    assert [int.from_bytes(message, "big") for message in read] == expected
