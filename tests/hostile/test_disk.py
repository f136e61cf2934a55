"""A disk that is full, nearly full or read-only: the agent says so, goes on living, and recovers by itself."""

import re
import time

import pytest

from deployment import event
from discreet_agent.device import open_device
from discreet_agent.disk import FreeDisk
from discreet_contract.clock import ManualClock
from senders import Sender, check_stored_once

DAY = 86_400


def stays_alive(deployment):
    return deployment.processes["agent"].poll() is None


def test_a_full_disk(lone, small_disk):
    """Senders are told to come again; with room everything they had acknowledged is there, once."""
    lone.start_agent()
    lone.wait_until(lone.socket.exists, "the agent is up")
    sender = Sender(lone.socket, "s", batch=20)
    sender.start()
    lone.wait_until(lambda: len(sender.acknowledged) > 100, "events are acknowledged")
    small_disk.fill()
    lone.wait_until(lambda: sender.turned_away > 3, "the disk is full")
    said = lone.asked()
    assert said["state"] == "on"
    assert said["store"].startswith("unavailable: ")
    assert "full" in said["store"]
    assert "free the disk" in said["store"]
    assert said["policy"]["fleet"] == "crashers"
    before = len(sender.acknowledged)
    small_disk.empty()
    lone.wait_until(lambda: len(sender.acknowledged) > before + 100, "it stores again")
    sender.stop()
    lone.wait_until(lambda: lone.asked()["store"] == "ok", "it says so")
    counters = lone.asked()["counters"]
    assert counters["store_troubles"][""] >= 1
    assert counters["events_refused"]["STORE_UNAVAILABLE"] >= 20 * 3
    assert stays_alive(lone)
    lone.kill("agent")
    with open_device(lone.folder / "agent", lone.policy, ManualClock(time.time_ns() // 1_000_000)) as device:
        check_stored_once(device, [sender])


def test_a_disk_that_is_full_or_read_only_at_the_start(lone, small_disk):
    """No restart after restart: one process waits, says why, turns senders away, and begins when it can."""
    small_disk.fill()
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("state") == "waiting", "it waits for room")
    assert "; " in lone.asked()["store"]
    shown = lone.discreet("agent", "status", "--config", lone.agent_toml)
    assert shown.stdout.startswith("waiting\nstore     unavailable: "), shown
    sender = Sender(lone.socket, "s")
    assert sender.ask(["s-0"]).get("refused", [{}])[0].get("reason") == "STORE_UNAVAILABLE"
    small_disk.empty()
    lone.wait_until(lambda: lone.asked().get("store") == "ok", "it works")
    assert stays_alive(lone)
    assert lone.stop("agent") == 0
    small_disk.remount("ro")
    lone.start_agent()
    lone.wait_until(lambda: "Read-only" in lone.asked().get("store", ""), "it waits for a writable disk")
    small_disk.remount("rw")
    lone.wait_until(lambda: lone.asked().get("store") == "ok", "it works")
    assert stays_alive(lone)


def test_a_waiting_agent_can_be_stopped(lone, small_disk):
    small_disk.fill()
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("state") == "waiting", "it waits")
    assert lone.stop("agent") == 0


def test_the_last_room_is_left_to_others(lone, small_disk):
    """Below `min_free_disk_bytes` events are refused, by that name, and counted; what is over is still forgotten."""
    now = int(time.time())
    clock = ManualClock((now - 3 * DAY) * 1000)
    with open_device(lone.folder / "agent", lone.policy, clock) as device:
        device.pipeline.record([event(now - 3 * DAY - 1, id="old")])
        clock.ms = now * 1000
        device.pipeline.record([event(now - 1, id="new")])
    lone.configure_agent(min_free_disk_bytes=1_000_000)
    text = (lone.folder / "agent.toml").read_text().replace("min_free_disk_bytes = 0\n", "")
    (lone.folder / "agent.toml").write_text(text)
    small_disk.fill(leave_bytes=500_000)
    lone.start_agent()
    lone.wait_until(lone.socket.exists, "the agent is up")
    sender = Sender(lone.socket, "s", batch=3)
    refused = sender.ask(["s-0", "s-1", "s-2"])["refused"]
    assert {item["reason"] for item in refused} == {"STORE_UNAVAILABLE"}
    assert "min_free_disk_bytes" in refused[0]["detail"]
    said = lone.asked()
    assert re.match(r"refuses events: 0\.\d MB are free, and 1 MB must stay free", said["store"]), said["store"]
    lone.wait_until(lambda: lone.asked()["counters"].get("events_forgotten") == {"": 1}, "it forgets all the same")
    small_disk.empty()
    assert sender.ask(["s-0"]) == {"ok": 1}
    said = lone.asked()
    assert said["store"] == "ok"
    assert said["counters"]["events_refused"] == {"STORE_UNAVAILABLE": 3}


@pytest.mark.parametrize(("wanted", "is_short"), [(0, False), (2**62, True)])
def test_free_room_is_the_file_systems_own_word(tmp_path, wanted, is_short):
    shortage = FreeDisk(tmp_path, wanted).shortage()
    assert (shortage is not None) is is_short


def test_a_folder_that_is_gone_has_no_shortage(tmp_path):
    """Writing will show what is wrong."""
    assert FreeDisk(tmp_path / "gone", 2**62).shortage() is None
