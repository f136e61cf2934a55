"""Senders that send again what was not acknowledged, and remember what was."""

import json
import threading
import time
from collections import Counter

from discreet_agent.ask import ask
from discreet_agent.tally import conclude
from discreet_contract.clock import window_start
from discreet_contract.errors import AgentUnreachableError

STORED = {"DUPLICATE"}  # stored before, and the answer to that was lost


class Sender(threading.Thread):
    """Sends batch after batch of one device's events until it is told to stop; then finishes the batch it is at."""

    def __init__(self, socket, name, *, batch=5, pause_seconds=0.0):
        super().__init__(name=name, daemon=True)
        self.socket, self.batch, self.pause_seconds = socket, batch, pause_seconds
        self.acknowledged: list[str] = []
        self.turned_away = 0  # batches answered STORE_UNAVAILABLE
        self.unanswered = 0
        self.done = threading.Event()
        self.hurry = threading.Event()  # give up what is not acknowledged

    def run(self):
        """In its own thread."""
        number = 0
        while not self.done.is_set():
            names = [f"{self.name}-{number + offset}" for offset in range(self.batch)]
            if self.send(names):
                self.acknowledged += names
                number += self.batch
            time.sleep(self.pause_seconds)

    def send(self, names):
        """Until all of them are stored."""
        while not self.hurry.is_set():
            answer = self.ask(names)
            reasons = {item["reason"] for item in answer.get("refused", [])}
            if "ok" in answer and reasons <= STORED:
                return True
            if "ok" in answer:
                assert reasons == {"STORE_UNAVAILABLE"}, answer
                self.turned_away += 1
            time.sleep(0.02)
        return False

    def ask(self, names):
        """One batch on a connection of its own."""
        now_ms = time.time_ns() // 1_000_000
        events = [
            {"signal": "door.opened", "version": "1-0-0", "time": now_ms, "id": name}
            | {"fields": {"seconds": 1, "side": "left"}}
            for name in names
        ]
        try:
            return ask(self.socket, json.dumps({"events": events}).encode(), timeout_seconds=10)
        except AgentUnreachableError:
            self.unanswered += 1
            return {}

    def stop(self):
        """Finish and return."""
        self.done.set()
        self.join(60)
        assert not self.is_alive()


def check_stored_once(device, senders):
    """Every acknowledged event once in raw and in the tallies; at most what was under way beside it."""
    stored = [event.id for event in device.store.raw.events()]
    assert len(stored) == len(set(stored)) == device.store.counters()["events_accepted"][""]
    stored = [name for name in stored if name.startswith("s")]
    acknowledged = {name for sender in senders for name in sender.acknowledged}
    assert acknowledged
    assert acknowledged <= set(stored)
    assert len(set(stored) - acknowledged) <= sum(sender.batch for sender in senders)
    assert device.store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_tallied_once(device, policy):
    """In every window that is open still, as many openings are counted as are stored."""
    plan = policy.plans["openings"]
    length = plan.metric.window_seconds
    stored = Counter(window_start(event.time_ms // 1000, length) for event in device.store.raw.events())
    scheduled = device.store.tallies.scheduled("openings")
    assert scheduled is not None
    for start in stored:
        if start >= scheduled.next_window:
            state = device.store.tallies.load("openings", plan.version, start)
            assert conclude(plan, state) == stored[start], start
