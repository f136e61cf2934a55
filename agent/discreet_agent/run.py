"""Running the daemon: open the device's folder and serve; where that cannot be done now, say so on the socket and wait.

A read-only or full disk, a database that another process holds, one that was corrupt and is set aside: a daemon that
ended there would be started again and again, and would say nothing to anybody who asks it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from itertools import count
from typing import TYPE_CHECKING, Any

import structlog

from discreet_agent.daemon import Daemon
from discreet_agent.device import open_device
from discreet_agent.policies import Policies
from discreet_agent.receive.door import Door
from discreet_agent.receive.socket import SocketReceiver
from discreet_agent.senders import Senders
from discreet_agent.status import describe_trouble
from discreet_agent.storing import CANNOT_STORE
from discreet_contract.broker import backoff_seconds
from discreet_contract.clock import Clock, SystemClock
from discreet_contract.errors import CorruptStoreError, RetryableError
from discreet_contract.policy.obey import Trust
from discreet_contract.state_folder import make_state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_agent.config import Settings
    from discreet_agent.device import OpenDevice
    from discreet_agent.event import Batch, Refused
    from discreet_contract.errors import DiscreetError

WAIT_SECONDS = 10.0  # at most between two attempts to open the folder

log = structlog.get_logger()


def run_daemon(settings: Settings, clock: Clock | None = None) -> None:
    """Open the device and serve until SIGTERM or SIGINT; wait where that cannot be done now, longer each time.

    After a corrupt database, which is set aside, the device is opened anew.
    """
    clock = clock or SystemClock()
    for attempt in count():
        try:
            _open_and_serve(settings, clock)
        except (RetryableError, CorruptStoreError) as exc:
            if asyncio.run(_wait(settings, exc, backoff_seconds(attempt, cap=WAIT_SECONDS))):
                continue
        return


def _open_and_serve(settings: Settings, clock: Clock) -> None:
    make_state_folder(settings.state_dir)
    policies = Policies(settings.policy, Trust(settings.roots, settings.witness), settings.state_dir, clock)
    with open_device(settings.state_dir, policies.start().policy, clock, settings.limits) as device:
        asyncio.run(_serve(settings, policies, device, clock))


async def _serve(settings: Settings, policies: Policies, device: OpenDevice, clock: Clock) -> None:
    daemon = Daemon(settings, policies, device, clock)
    _on_signal(daemon.stop)
    await daemon.run()


async def _wait(settings: Settings, problem: DiscreetError, seconds: float) -> bool:
    """Serve the socket without a store for a while; False if the agent was told to stop meanwhile."""
    stopping = asyncio.Event()
    _on_signal(stopping.set)
    log.warning("cannot work yet, trying again", problem=str(problem), next_step=problem.hint, seconds=round(seconds))
    door = Door(settings.socket, settings.socket_mode, settings.socket_group)
    senders = Senders({}, os.geteuid())  # nobody is stored, so nobody need be told apart
    receiver = SocketReceiver(door, _refuse_all, lambda _query: _describe(problem), lambda: senders)
    await receiver.start()
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return True
    finally:
        await receiver.close()
    return False


def _on_signal(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _describe(problem: DiscreetError) -> dict[str, Any]:
    """The answer to every query."""
    return {"state": "waiting", "why_off": None, "store": describe_trouble(problem)}


def _refuse_all(batches: Sequence[Batch]) -> Sequence[Refused]:
    return [CANNOT_STORE] * sum(len(batch.items) for batch in batches)
