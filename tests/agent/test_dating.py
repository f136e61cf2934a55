"""Events that came in while the clock was wrong get their times when it is right again, in the same boot."""

import pytest

from device_bench import HOUR, START, Bench, MachineClock, damage_block, opening

DAY = 86_400


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "state", clock=MachineClock())
    yield bench
    bench.close()


@pytest.fixture
def device(bench):
    """Enrolled, with a signed time that proves when it is."""
    device = bench.open()
    device.pipeline.learn_signed_time(START * 1000)
    device.pipeline.close_windows()
    return device


def now(bench):
    return bench.clock.now_ms() / 1000


def times(device):
    return sorted(event.time_ms // 1000 for event in device.store.raw.events())


@pytest.mark.parametrize("ahead", [-400 * DAY, 100 * DAY], ids=["behind", "ahead"])
def test_times_are_mended_and_counted_when_the_clock_is_right(bench, device, ahead):
    """A reboot into a wrong clock, a minute of events, then the clock is set: they count in the hour they came."""
    bench.clock.wait(HOUR)
    if ahead < 0:
        bench.clock.reboot()
        bench.clock.set_wall(ahead)
        device = bench.open()
    else:
        bench.clock.set_wall(ahead)
    device.pipeline.close_windows()
    bench.clock.wait(60)
    assert device.pipeline.record([opening(now(bench), id="a"), opening(now(bench) - 30, id="b")]) == [None, None]
    openings = device.store.connection.execute("SELECT count(*) FROM tallies WHERE metric = 'openings'")
    assert openings.fetchone() == (0,)

    bench.clock.wait(60)
    bench.clock.set_wall(0)
    device.pipeline.forget()
    came = START + HOUR + 60
    assert times(device) == [came - 30, came]
    assert device.store.counters()["events_dated"] == {"": 2}
    assert device.store.tallies.load("openings", bench.policy.plans["openings"].version, START + HOUR) == 2
    assert None not in device.pipeline.record([opening(now(bench), id="a")])


def test_what_came_under_an_earlier_boot_stays_undated_and_is_forgotten_on_time(bench, device):
    """Nobody can tell any more when it was; it is kept for its retention and counted nowhere."""
    bench.clock.reboot()
    bench.clock.set_wall(-400 * DAY)
    device = bench.open()
    device.pipeline.record([opening(now(bench))])
    bench.clock.reboot()
    bench.clock.set_wall(0)
    device = bench.open()
    device.pipeline.forget()
    assert len(times(device)) == 1
    assert "openings" not in [name for [name] in device.store.connection.execute("SELECT metric FROM tallies")]
    bench.clock.wait(3 * DAY)
    assert device.pipeline.forget() == 1
    assert device.store.counters()["events_never_dated"] == {"": 1}


def test_an_undated_event_can_be_taken_back(bench, device):
    """It was counted nowhere, so nothing is undone but its place in the log."""
    bench.clock.reboot()
    bench.clock.set_wall(-400 * DAY)
    device = bench.open()
    device.pipeline.record([opening(now(bench), id="a")])
    assert device.pipeline.record([opening(now(bench), fields={}, retracts="a")]) == [None]
    bench.clock.set_wall(0)
    device.pipeline.forget()
    assert times(device) == []


def test_a_damaged_block_is_dated_by_nobody_and_stops_nothing(bench, device):
    """It goes, counted as what it is; the others get their times."""
    bench.clock.wait(HOUR)
    bench.clock.set_wall(-3 * HOUR)
    for second in range(2):
        device.pipeline.record([opening(now(bench) - second)])
    damage_block(device)
    bench.clock.set_wall(0)
    device.pipeline.forget()
    assert times(device) == [START + HOUR - 1]
    assert device.store.counters()["events_never_dated"] == {"": 1}
