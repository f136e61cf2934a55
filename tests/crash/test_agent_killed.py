"""The agent, killed between any two steps, never draws a second report and never loses one."""

import random
import time

import pytest

from deployment import Listener
from discreet_agent.device import open_device
from discreet_contract.clock import ManualClock
from senders import Sender, check_stored_once, check_tallied_once

# (function from whose first call the steps are counted, the steps at which to kill)
RELEASING = ["_close", "_charge", "conclude", "bound", "randomise", "seal", "_queue", "drop", "close_until"]
CLOSING = [(name, step) for name in RELEASING for step in (1, 3)] + [("close_until", step) for step in range(4, 11)]
SENDING = [("send", 1), ("listen", 1), ("publish", 1), ("publish", 2), ("publish", 4), ("publish", 9)]
SETTLING = [("read_receipts", 1), ("settle", 1), ("settle", 4), ("settle", 8), ("settle", 14), ("settle", 40)]


def test_killed_at_every_stage_of_a_release(deployment):
    """Thirty-odd SIGKILLs on the way from a tally to a settled report; every window is charged and counted once."""
    windows = deployment.seed(windows=60)
    deployment.start_aggregator()
    killed_at = []
    with Listener(deployment.port, "#") as listener:
        for trigger, step in [*CLOSING, *SENDING, *SETTLING]:
            killed_at.append(deployment.kill_at("agent", trigger, step))
        deployment.start_agent()
        deployment.wait_until(
            lambda: deployment.made() >= 3 * len(windows) and deployment.waiting() == 0, "all is settled", 60
        )
        deployment.stop("agent")
        deployment.check_exactly_once(windows)
        deployment.check_same_bytes(listener.envelopes)
    assert len([name for name in killed_at if name]) >= 25, killed_at
    steps = {name.split(" ", 1)[1] for name in killed_at if name}
    assert {*RELEASING, "sqlite.execute", "send", "publish", "settle"} <= steps, sorted(steps)


@pytest.mark.parametrize("kills", [25, pytest.param(500, marks=pytest.mark.slow)])
def test_killed_while_events_come_in(lone, kills):
    """At random instants under load, beside forgetting and closing: every acknowledged event is stored exactly once."""
    lone.seed(windows=1)
    senders = [Sender(lone.socket, f"s{number}", batch=size) for number, size in enumerate((1, 7, 50))]
    began = time.monotonic()
    lone.start_agent()
    lone.wait_until(lone.socket.exists, "the agent is up")
    start_seconds = time.monotonic() - began  # beside other tests it may be anything, and change: it is followed below
    for sender in senders:
        sender.start()
    chance, at_work = random.SystemRandom(), 0
    for _ in range(kills):
        before = sum(len(sender.acknowledged) for sender in senders)
        time.sleep(start_seconds * chance.uniform(0.5, 1.5))  # from before it is ready to many commits later
        lone.kill("agent")
        was_at_work = sum(len(sender.acknowledged) for sender in senders) > before
        at_work += was_at_work
        start_seconds *= 0.95 if was_at_work else 1.1  # so that two kills in three come while it is at work
        lone.start_agent()
    for sender in senders:
        sender.stop()
    lone.kill("agent")
    assert at_work > kills / 5

    with open_device(lone.folder / "agent", lone.policy, ManualClock(time.time_ns() // 1_000_000)) as device:
        check_stored_once(device, senders)
        check_tallied_once(device, lone.policy)
