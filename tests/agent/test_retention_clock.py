"""Retention time: what passes is counted, what a clock claims is not, unless it must be."""

import pytest

from device_bench import START, MachineClock
from discreet_agent.retention_clock import HOLD_MS, RetentionClock

DAY = 86_400


@pytest.fixture
def clock():
    return MachineClock()


def passed(retention, since=START):
    return retention.now_ms() / 1000 - since


def test_it_counts_what_passes_whatever_the_wall_clock_says(clock):
    """Set back by a year and forward by ten, within one boot: a day is a day."""
    retention = RetentionClock(clock, None)
    clock.set_wall(-365 * DAY)
    clock.wait(DAY)
    assert passed(retention) == DAY
    clock.set_wall(3650 * DAY)
    clock.wait(DAY)
    assert passed(retention) == 2 * DAY


def test_a_short_absence_is_believed_at_once(clock):
    """Half an hour off counts."""
    retention = RetentionClock(clock, None)
    clock.wait(DAY)
    kept = retention.save()
    clock.reboot(off_seconds=1800)
    again = RetentionClock(clock, kept)
    assert passed(again) == DAY + 1800
    assert not again.is_held


def test_a_long_absence_is_held_until_it_is_confirmed(clock):
    """By the kernel's word that the clock is synchronised."""
    kept = RetentionClock(clock, None).save()
    clock.reboot(off_seconds=20 * DAY)
    again = RetentionClock(clock, kept)
    assert passed(again) == 0
    assert again.is_held
    clock.wait(60)
    assert passed(again) == 60
    clock.synchronized = True
    assert passed(again) == 20 * DAY + 60
    assert not again.is_held


def test_a_signed_time_confirms_as_well(clock):
    """One that reaches the wall clock."""
    kept = RetentionClock(clock, None).save()
    clock.reboot(off_seconds=20 * DAY)
    again = RetentionClock(clock, kept)
    again.hear((START + 10 * DAY) * 1000)
    assert passed(again) == 0
    again.hear((START + 20 * DAY) * 1000)
    assert passed(again) == 20 * DAY


def test_after_a_day_of_uptime_an_unconfirmed_absence_is_believed(clock):
    """A device that is offline for good forgets as well; the hold goes on over restarts of the same boot."""
    kept = RetentionClock(clock, None).save()
    clock.reboot(off_seconds=20 * DAY)
    retention = RetentionClock(clock, kept)
    clock.wait(DAY / 2)
    assert passed(retention) == DAY / 2
    retention = RetentionClock(clock, retention.save())
    clock.wait(DAY / 2)
    assert HOLD_MS == DAY * 1000
    assert passed(retention) == 21 * DAY


def test_a_clock_wrongly_ahead_at_boot_destroys_nothing_when_mended_in_time(clock):
    """A year ahead for an hour, then right again."""
    kept = RetentionClock(clock, None).save()
    clock.reboot(off_seconds=60)
    clock.set_wall(365 * DAY)
    retention = RetentionClock(clock, kept)
    clock.wait(3600)
    assert passed(retention) == 3600
    clock.set_wall(0)
    assert passed(retention) == 3660
    assert not retention.is_held


def test_a_machine_that_boots_in_1970_counts_its_absence_when_it_learns_the_time(clock):
    """No battery: the wall clock starts at zero at each boot, and is set a minute later."""
    retention = RetentionClock(clock, None)
    clock.wait(DAY)
    retention.now_ms()
    kept = retention.save()
    clock.reboot(off_seconds=5 * DAY)
    true = clock.wrong_ms
    clock.set_wall(-(START + 6 * DAY))
    again = RetentionClock(clock, kept)
    clock.wait(60)
    assert passed(again) == DAY + 60
    clock.wrong_ms, clock.synchronized = true, True
    assert passed(again) == 6 * DAY + 60


def test_a_first_boot_in_1970_loses_nothing_when_the_clock_is_set(clock):
    """Before its first boot nothing was stored: no absence to count."""
    clock.set_wall(-START)
    retention = RetentionClock(clock, None)
    began = retention.now_ms()
    clock.wait(60)
    clock.set_wall(0)
    clock.synchronized = True
    assert retention.now_ms() - began == 60_000


def test_it_never_goes_back(clock):
    """Through any of these steps, restarts included."""
    retention, last = RetentionClock(clock, None), 0
    for step in range(200):
        if step % 7 == 3:
            kept = retention.save()
            clock.reboot(off_seconds=step * 997 % (3 * DAY))
            retention = RetentionClock(clock, kept)
        clock.set_wall((step * 7919 % 400 - 200) * DAY)
        clock.synchronized = step % 5 == 0
        clock.wait(step * 131 % 7200)
        now = retention.now_ms()
        assert now >= last
        last = now


def test_an_event_is_dated_by_its_age(clock):
    """Whatever the wall clock says: an event of ten seconds ago is ten seconds old."""
    retention = RetentionClock(clock, None)
    clock.set_wall(-365 * DAY)
    clock.wait(100)
    assert retention.of(clock.now_ms() - 10_000) == retention.now_ms() - 10_000


def test_a_machine_that_is_off_each_night_counts_its_nights(clock):
    """Offline for good, never up for a whole day: after a day of uptime in all, the absence is believed."""
    retention = RetentionClock(clock, None)
    for _ in range(9):
        clock.wait(8 * 3600)
        kept = retention.save()
        clock.reboot(off_seconds=16 * 3600)
        retention = RetentionClock(clock, kept)
    assert passed(retention) > 6 * DAY


def test_a_clock_moved_by_mistake_is_held_anew_at_the_next_boot(clock):
    """What was no absence is not made one by switching off."""
    retention = RetentionClock(clock, None)
    clock.set_wall(365 * DAY)
    clock.wait(DAY - 3600)
    kept = retention.save()
    clock.reboot(off_seconds=60)
    retention = RetentionClock(clock, kept)
    clock.wait(2 * 3600)
    assert passed(retention) == DAY + 3600
