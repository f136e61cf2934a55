"""The agent, killed between any two steps, never draws a second report and never loses one."""

import threading
import time

from deployment import Listener
from discreet_agent.ask import ask
from discreet_agent.device import open_device
from discreet_contract.clock import ManualClock
from discreet_contract.errors import AgentUnreachableError

LINE = b'{"signal":"door.opened","version":"1-0-0","time":%d,"id":"e%d","fields":{"seconds":1,"side":"left"}}'

# (function from whose first call the steps are counted, the steps at which to kill)
RELEASING = ["_close", "_charge", "conclude", "bound", "randomise", "seal", "_queue", "drop", "close_until"]
CLOSING = [(name, step) for name in RELEASING for step in (1, 3)] + [("close_until", step) for step in (5, 7, 9)]
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


def test_killed_while_events_come_in(deployment):
    """A sender that repeats what was not acknowledged: every acknowledged event is stored exactly once."""
    acknowledged, done = [], threading.Event()

    def send():
        number = 0
        while not done.is_set():
            line = (
                b'{"signal":"door.opened","version":"1-0-0","time":%d,"id":"e%d","fields":{"seconds":1,"side":"left"}}'
            )
            try:
                answer = ask(deployment.socket, line % (time.time_ns() // 1_000_000, number), timeout_seconds=2)
            except AgentUnreachableError:
                time.sleep(0.02)
                continue
            is_stored = answer["ok"] == 1 or answer["refused"][0]["reason"] == "DUPLICATE"
            assert is_stored, answer
            acknowledged.append(f"e{number}")
            number += 1

    deployment.start_agent()
    sender = threading.Thread(target=send)
    sender.start()
    for kill in range(25):
        before = len(acknowledged)
        deployment.wait_until(lambda before=before: len(acknowledged) > before + 5, "events are acknowledged")
        time.sleep(0.003 * (kill % 7))
        deployment.kill("agent")
        deployment.start_agent()
    done.set()
    sender.join()
    deployment.kill("agent")

    with open_device(deployment.folder / "agent", deployment.policy, ManualClock(0)) as device:
        stored = [item.id for item in device.store.raw.events()]
        counted = device.store.counters()["events_accepted"][""]
    assert len(stored) == len(set(stored)) == counted
    assert set(acknowledged) <= set(stored)
    assert len(set(stored) - set(acknowledged)) <= 1  # stored, but killed before the answer, and done meanwhile
