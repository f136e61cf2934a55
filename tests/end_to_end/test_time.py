"""A device that was without power for long learns from the aggregator how long, and reports what it missed."""

import time

import msgspec

from deployment import MINUTE, Listener
from discreet_agent.device import open_device
from discreet_contract.beacon import read_beacon
from discreet_contract.clock import ManualClock
from discreet_contract.proven_time import ProvenTime
from discreet_contract.wire import time_topic

DAY_MS = 86_400_000


def set_back(deployment, days):
    """As if the machine had been off for so long: another boot, and what was proven before."""
    now_ms = round(time.time() * 1000)
    then = ProvenTime(now_ms - days * DAY_MS, now_ms - days * DAY_MS, now_ms - days * DAY_MS, "the boot before", 0)
    opened = open_device(deployment.folder / "agent", deployment.policy, ManualClock(now_ms))
    with opened as device, device.store.transaction():
        device.store.remember("proven_time", msgspec.to_builtins(then))


def test_the_aggregator_says_what_time_it_is(deployment):
    """Signed with the key the policy names, and kept by the broker for those who connect later."""
    keys = deployment.policy.policy.aggregator.keys
    deployment.start_aggregator()
    with Listener(deployment.port, time_topic("crashers")) as listener:
        deployment.wait_until(lambda: listener.heard, "the time is said")
        said = read_beacon(listener.heard[0][1], "crashers", keys)
    assert abs(said - time.time() * 1000) < 60_000


def test_months_without_power_are_caught_up_when_the_aggregator_speaks(deployment):
    """Before, the device waits, says so, and charges nothing for what its clock alone says."""
    windows = deployment.seed(windows=3)
    set_back(deployment, 60)
    deployment.sign_head_at(time.time() * 1000 - 60 * DAY_MS)
    deployment.start_agent()
    deployment.wait_until(lambda: "CLOCK_UNPROVEN" in deployment.status().get("releases", ""), "the device waits")
    assert deployment.made() == 0

    deployment.start_aggregator()
    deployment.wait_until(lambda: deployment.made() >= 3 * len(windows) and deployment.waiting() == 0, "all is settled")
    assert deployment.status()["releases"] == "running"
    assert deployment.stop("agent") == 0
    assert time.time() - windows[-1] < 60 * MINUTE
