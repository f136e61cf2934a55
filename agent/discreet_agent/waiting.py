"""The socket while the device's folder cannot be opened: status says why, senders are told to come again.

A read-only or full disk, a database that another process holds: a daemon that ended there would be started again and
again, and would say nothing to anybody who asks it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import structlog

from discreet_agent.receive.socket import SocketReceiver
from discreet_agent.senders import Senders
from discreet_agent.status import describe_trouble
from discreet_agent.storing import CANNOT_STORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Batch, Refused
    from discreet_agent.receive.door import Door
    from discreet_contract.errors import DiscreetError

log = structlog.get_logger()


async def wait_for_store(door: Door, problem: DiscreetError, seconds: float) -> bool:
    """Serve the socket without a store for a while; False if the agent was told to stop meanwhile."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    log.warning("cannot work yet, trying again", problem=str(problem), next_step=problem.hint, seconds=round(seconds))
    senders = Senders({}, os.geteuid())  # nobody's events are taken: who sends need not be known
    receiver = SocketReceiver(door, _refuse_all, lambda _query: describe_waiting(problem), lambda: senders)
    await receiver.start()
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return True
    finally:
        await receiver.close()
    return False


def describe_waiting(problem: DiscreetError) -> dict[str, Any]:
    """The answer to every query."""
    return {"state": "waiting", "why_off": None, "store": describe_trouble(problem)}


def _refuse_all(batches: Sequence[Batch]) -> Sequence[Refused | None]:
    return [CANNOT_STORE for batch in batches for _ in batch.items]
