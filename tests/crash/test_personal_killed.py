"""The agent, killed at random instants: features count what is stored, an exposure that was noted stays noted."""

import json
import random
import threading
import time

import pytest

from discreet_agent.ask import ask
from discreet_agent.device import open_device
from discreet_agent.senders import ANYONE
from discreet_contract.clock import ManualClock
from discreet_contract.errors import AgentUnreachableError
from senders import Sender, check_stored_once

PARTS = """features:
  openings: {from: door.opened, aggregate: count, window: 1d}
  seconds: {from: door.opened, aggregate: sum, value: seconds, window: 1d}
  by_side: {from: door.opened, aggregate: count, by: side, window: 1d}
segments:
  busy: {when: {">": [{var: openings}, 100]}}
flags:
  lamp:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{var: experiments.lamps}, {var: experiments.lamps}, "off"]}
layers: {light: {why: one experiment of tests}}
experiments:
  lamps:
    hypothesis: In tests, a lamp that turns itself on opens more doors within a day.
    layer: light
    algorithm: blake2b-1
    salt: lamps-2020-x7qk
    arms: {"off": 50, "on": 50}
    traffic: 100%
    flag: lamp
    start: 2020-01-01
    end: 2034-01-01
    primary: opened
metrics:
"""


class Exposing(threading.Thread):
    """An app that says again and again that its lamp was acted on; remembers what it was told."""

    def __init__(self, socket):
        super().__init__(daemon=True)
        self.socket, self.done, self.told = socket, threading.Event(), []

    def run(self):
        line = json.dumps({"query": "track", "exposures": [{"flag": "lamp"}]}).encode()
        while not self.done.is_set():
            try:
                answer = ask(self.socket, line, timeout_seconds=10)
            except AgentUnreachableError:
                time.sleep(0.02)
                continue
            self.told += [one["seen"] for one in answer.get("exposures", ())]
            time.sleep(0.05)


@pytest.mark.parametrize("kills", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_features_and_exposures_survive_kills(lone, kills):
    """Whatever was acknowledged is in every feature once; NOTED is said at most once, unless its answer was lost."""
    lone.deliver(("metrics:\n", PARTS), ("  opened: {from", "  opened: {by: [experiments], from"))
    senders = [Sender(lone.socket, f"s{number}", batch=size) for number, size in enumerate((1, 20))]
    app = Exposing(lone.socket)
    lone.start_agent()
    lone.wait_until(lone.socket.exists, "the agent is up")
    for thread in (*senders, app):
        thread.start()
    chance = random.SystemRandom()
    for _ in range(kills):
        time.sleep(chance.uniform(0.3, 1.2))
        lone.kill("agent")
        lone.start_agent()
    time.sleep(1)
    for sender in senders:
        sender.stop()
    app.done.set()
    app.join(20)
    lone.kill("agent")

    with open_device(lone.folder / "agent", lone.policy, ManualClock(time.time_ns() // 1_000_000)) as device:
        check_stored_once(device, senders)
        stored = sum(1 for _ in device.store.raw.events())
        assert device.pipeline.features.read("openings").value == stored
        assert device.pipeline.features.read("seconds").value == stored
        assert device.pipeline.features.read("by_side").value == {"left": stored}
        [lamps] = device.pipeline.personal.experiments()
        assert app.told.count("NOTED") <= 1
        assert set(app.told) <= {"NOTED", "KNOWN", "NO_EXPERIMENT"}
        assert len(lamps["exposures"]) == 1
        assert device.pipeline.personal.evaluate("lamp", {}, ANYONE).variant == lamps["arm"]
