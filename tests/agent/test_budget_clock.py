"""Windows close and are charged by proven time, not by what the wall clock says."""

import pytest

from device_bench import HOUR, START, MachineClock, make_policy, opening
from discreet_agent.store.head import Halt
from discreet_contract.proven_time import SLACK_MS, ProvenTime

DAY = 86_400
SLACK_DAYS = SLACK_MS // 1000 // DAY


def machine(bench, **policy):
    """A device on a clock that may be wrong, its policy's head just signed; the first windows are enrolled."""
    bench.clock = MachineClock()
    bench.policy = make_policy(
        edits=(("late_horizon: 1d", "late_horizon: 35d"), ("window: 1h", "window: 1d")), **policy
    )
    device = bench.open()
    device.pipeline.learn_signed_time(START * 1000)
    device.pipeline.close_windows()
    return bench.clock, device


def windows(device):
    return sorted({entry.window_start for entry in device.store.ledger.entries()})


def test_a_clock_set_forward_a_year_closes_nothing(bench):
    """Within a boot; when it is right again, not a window is missing."""
    clock, device = machine(bench)
    clock.set_wall(365 * DAY)
    clock.wait(HOUR)
    assert device.pipeline.close_windows() == 0
    assert device.pipeline.forget() == 0
    assert device.pipeline.halted.reason is Halt.CLOCK_UNPROVEN
    assert "set the clock" in str(device.pipeline.halted)
    clock.wait(2 * DAY)
    clock.set_wall(0)
    assert device.pipeline.close_windows() == 6
    assert device.pipeline.halted is None
    assert device.store.counters()["releases_halted"] == {"CLOCK_UNPROVEN": 1}
    assert "windows_expired" not in device.store.counters()


def test_a_clock_set_back_a_year_loses_nothing(bench):
    """Nothing closes meanwhile, and everything that is due when it is right again."""
    clock, device = machine(bench)
    clock.wait(DAY + HOUR)
    assert device.pipeline.close_windows() == 3
    clock.set_wall(-365 * DAY)
    clock.wait(3 * DAY)
    for opened in (device, None):
        one = opened or bench.open()
        assert one.pipeline.close_windows() == 0
        one.pipeline.forget()
        assert one.pipeline.halted.reason is Halt.CLOCK_BEHIND
    clock.set_wall(0)
    device = bench.open()
    assert device.pipeline.close_windows() == 9
    assert windows(device) == [START + day * DAY for day in range(4)]


def test_a_clock_walked_forward_spends_nothing_early(bench):
    """28 days at a time, an hour between, within a boot."""
    clock, device = machine(bench)
    for number in range(1, 15):
        clock.set_wall(number * 28 * DAY)
        clock.wait(HOUR)
        device.pipeline.close_windows()
    assert windows(device) == []


def test_reboots_do_not_help_to_walk_it_forward(bench):
    """Each boot believes the clock anew, all of them together no further than the slack."""
    clock, device = machine(bench)
    for number in range(1, 15):
        clock.set_wall(number * 28 * DAY)
        clock.reboot()
        device = bench.open()
        device.pipeline.learn_signed_time(START * 1000)
        device.pipeline.close_windows()
    assert windows(device)
    assert max(windows(device)) + DAY <= START + SLACK_DAYS * DAY


def test_after_a_night_off_nothing_waits(bench):
    """The ordinary device: right clock, off for hours, no newer head for weeks."""
    clock, device = machine(bench)
    for _ in range(20):
        clock.reboot(off_seconds=DAY / 2)
        clock.wait(DAY / 2)
        device = bench.open()
        device.pipeline.learn_signed_time(START * 1000)
        device.pipeline.close_windows()
        assert device.pipeline.halted is None
    clock.wait(120)
    device.pipeline.close_windows()
    assert windows(device) == [START + day * DAY for day in range(20)]


def test_after_a_long_absence_the_next_signed_head_frees_what_waited(bench):
    """Every window within the horizon is reported, and none before its head came."""
    clock, device = machine(bench)
    clock.reboot(off_seconds=100 * DAY)
    device = bench.open()
    device.pipeline.close_windows()
    assert device.pipeline.halted.reason is Halt.CLOCK_UNPROVEN
    charged = len(windows(device))
    assert charged <= SLACK_DAYS
    device.pipeline.learn_signed_time(clock.true_ms - 5 * DAY * 1000)
    device.pipeline.close_windows()
    assert device.pipeline.halted is None
    assert windows(device)[charged:] == [START + day * DAY for day in range(64, 99)]


def test_a_clock_corrected_after_the_start_is_believed_at_the_next_boot(bench):
    """A machine without a clock of its own, whose network time comes late: said so, and only delayed."""
    clock, device = machine(bench)
    clock.set_wall(-5 * DAY)
    clock.reboot(off_seconds=5 * DAY)
    device = bench.open()
    device.pipeline.close_windows()
    clock.set_wall(0)
    assert device.pipeline.close_windows() == 0
    assert device.pipeline.halted.reason is Halt.CLOCK_JUMPED
    clock.reboot()
    device = bench.open()
    clock.wait(120)
    assert device.pipeline.close_windows() == 15
    assert device.pipeline.halted is None


def test_a_new_device_with_a_wrong_clock_waits_to_be_enrolled(bench):
    """A first window a year ahead would keep it silent for a year."""
    bench.clock = clock = MachineClock()
    clock.set_wall(365 * DAY)
    device = bench.open()
    device.pipeline.learn_signed_time(START * 1000)
    device.pipeline.close_windows()
    assert device.store.tallies.scheduled("opened") is None
    clock.set_wall(0)
    device.pipeline.close_windows()
    assert device.store.tallies.scheduled("opened").next_window == START


def test_restarting_the_agent_is_no_boot(bench):
    """What was believed when the machine came up is kept with the first charge or enrolment."""
    clock, device = machine(bench)
    clock.set_wall(20 * DAY)
    device = bench.open()
    assert device.pipeline.close_windows() == 0


def test_what_is_proven_is_saved_seldom(bench):
    """At a boot, with a signed time, with a charge, and every six hours."""
    clock, device = machine(bench)
    before = ProvenTime(*device.store.recall("proven_time"))
    clock.wait(5 * HOUR)
    device.pipeline.close_windows()
    assert ProvenTime(*device.store.recall("proven_time")) == before
    clock.wait(HOUR)
    device.pipeline.close_windows()
    assert ProvenTime(*device.store.recall("proven_time")).ms == before.ms + 6 * HOUR * 1000


@pytest.mark.parametrize("signed", ["learn_signed_time", "hear_time"])
def test_a_signed_time_beyond_every_calendar_is_explained(bench, signed):
    """A signer's clock was wrong by far; windows wait, events are still taken."""
    _, device = machine(bench)
    getattr(device.pipeline, signed)(2**53 - 1)
    assert device.pipeline.close_windows() == 0
    assert "after the year 9999" in str(device.pipeline.halted)
    assert device.pipeline.record([opening(START)]) == [None]
