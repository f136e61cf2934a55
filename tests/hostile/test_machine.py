"""A machine that gets in the way: a lock held by somebody else, no descriptors left, a clock that jumps."""

import os
import resource
import socket
import sqlite3
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from discreet_agent.device import DATABASE, open_device
from discreet_contract.clock import ManualClock
from needs import need
from senders import Sender, check_stored_once

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


def started(lone):
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("store") == "ok", "the agent works")


def check_at_rest(lone, sender):
    """Nothing acknowledged is lost."""
    sender.stop()
    assert lone.processes["agent"].poll() is None
    lone.kill("agent")
    with open_device(lone.folder / "agent", lone.policy, ManualClock(time.time_ns() // 1_000_000)) as device:
        check_stored_once(device, [sender])


def test_a_database_that_another_process_holds(lone):
    """Senders come again, status says who is in the way, and it ends with the lock."""
    started(lone)
    sender = Sender(lone.socket, "s")
    sender.start()
    lone.wait_until(lambda: len(sender.acknowledged) > 20, "events are acknowledged")
    with closing(sqlite3.connect(lone.folder / "agent" / DATABASE, isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        lone.wait_until(lambda: sender.turned_away > 0, "a sender is turned away")
        said = lone.asked()
        assert said["state"] == "on"
        assert "locked; another process holds the database" in said["store"]
        assert said["raw"]["events"] > 0
        other.execute("ROLLBACK")
    before = len(sender.acknowledged)
    lone.wait_until(lambda: len(sender.acknowledged) > before + 20, "it stores again")
    lone.wait_until(lambda: lone.asked()["store"] == "ok", "it says so")
    check_at_rest(lone, sender)


@pytest.mark.slow
def test_a_database_that_another_process_holds_at_the_start(lone):
    """The agent waits for it."""
    started(lone)
    lone.stop("agent")
    with closing(sqlite3.connect(lone.folder / "agent" / DATABASE, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        lone.start_agent()
        lone.wait_until(lambda: "locked" in lone.asked().get("store", ""), "the agent waits")
    lone.wait_until(lambda: lone.asked().get("store") == "ok", "the agent works")


def test_no_descriptors_are_left(lone):
    """A sender that is connected is served on; others are, as soon as descriptors are free."""
    started(lone)
    pid = lone.processes["agent"].pid
    sender = Sender(lone.socket, "s")
    sender.start()
    lone.wait_until(lambda: len(sender.acknowledged) > 20, "events are acknowledged")
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with ExitStack() as held:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())) + 3, limits[1]))
        for _ in range(12):
            crowd = held.enter_context(socket.socket(socket.AF_UNIX))
            crowd.connect(str(lone.socket))
        time.sleep(2)
        assert lone.processes["agent"].poll() is None
        at = len(sender.acknowledged)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        lone.wait_until(lambda: len(sender.acknowledged) > at + 20, "it goes on")
    lone.wait_until(lambda: lone.asked().get("store") == "ok", "it says so")
    check_at_rest(lone, sender)


@pytest.mark.parametrize(
    ("jump", "reason"),
    [
        ("+3d", "CLOCK_JUMPED"),
        pytest.param("+40d", "CLOCK_UNPROVEN", marks=pytest.mark.slow),
        pytest.param("-40d", "CLOCK_BEHIND", marks=pytest.mark.slow),
    ],
)
def test_the_clock_jumps_while_it_runs(lone, jump, reason):
    """The wall clock alone, by libfaketime: releases wait, and nothing is forgotten, though retention is two days."""
    need(FAKETIME is not None, "libfaketime is not installed (Debian: apt-get install libfaketime)")
    windows = lone.seed(windows=3)
    file = lone.folder / "faketime"
    file.write_text("+0d")
    os.environ |= (fake := {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(file)})
    os.environ |= (more := {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"})
    try:
        lone.start_agent()
    finally:
        for name in fake | more:
            del os.environ[name]
    lone.wait_until(lambda: lone.asked().get("store") == "ok", "the agent works")
    lone.wait_until(lambda: lone.made() >= 3 * len(windows), "windows are closed")
    made, kept = lone.made(), lone.asked()["raw"]["events"]
    file.write_text(jump)
    lone.wait_until(lambda: reason in lone.asked()["releases"], "the jump is noticed")
    time.sleep(3)
    assert lone.made() <= made + 3  # at most a window that was over by then
    assert lone.asked()["raw"]["events"] == kept
    file.write_text("+0d")
    lone.wait_until(lambda: lone.asked()["releases"] == "running", "the clock is believed again")
    assert lone.asked()["raw"]["events"] == kept
    assert Sender(lone.socket, "s").ask(["s-0"]) == {"ok": 1}
    assert lone.processes["agent"].poll() is None
