"""Time as an argument."""

import threading
import time

import pytest

from discreet_contract.clock import ManualClock, ReplayClock, SystemClock, window_start
from discreet_contract.errors import ConfigError, ExitCode


def test_the_system_clock_tells_the_machines_time():
    """Milliseconds since the epoch, and since boot."""
    clock = SystemClock()

    assert abs(clock.now_ms() - time.time() * 1000) < 1000
    first = clock.boot_ms()
    assert clock.boot_ms() >= first > 0


def test_a_manual_clock_never_goes_back():
    """A step back is ignored."""
    clock = ManualClock(1000)
    clock.advance_to(900)
    assert clock.now_ms() == clock.boot_ms() == 1000

    clock.advance_to(2000)
    assert clock.now_ms() == 2000


def test_a_replay_clock_reads_what_its_driver_wrote(tmp_path):
    """Several processes share one file."""
    path = tmp_path / "clock"
    clock = ReplayClock(path)

    for ms in (1_357_035_300_000, 1_359_454_500_000):
        ReplayClock.write(path, ms)
        assert clock.now_ms() == ms
    assert clock.boot_ms() > 0


def test_two_replay_clocks_in_one_folder_do_not_share_a_temporary_file(tmp_path):
    """`a.device` and `a.server` advance at the same time."""
    (tmp_path / "a.device.new").mkdir()  # whatever stands in one's way is no matter to the other
    (tmp_path / "a.new").mkdir()

    ReplayClock.write(tmp_path / "a.server", 1)

    assert ReplayClock(tmp_path / "a.server").now_ms() == 1


def test_a_reader_sees_the_old_or_the_new_time_never_half_of_one(tmp_path):
    """Written atomically while somebody reads."""
    path = tmp_path / "clock"
    times = [1, 1_357_035_300_000]
    ReplayClock.write(path, times[0])
    done = threading.Event()

    def drive():
        while not done.is_set():
            for ms in times:
                ReplayClock.write(path, ms)

    driver = threading.Thread(target=drive)
    driver.start()
    try:
        assert {ReplayClock(path).now_ms() for _ in range(2000)} <= set(times)
    finally:
        done.set()
        driver.join()


@pytest.mark.parametrize("content", [None, "", "soon", "1.5"])
def test_a_replay_clock_without_a_time_says_what_to_do(tmp_path, content):
    """Missing or broken: the path and the next step."""
    path = tmp_path / "clock"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError, match="holds no time") as caught:
        ReplayClock(path).now_ms()

    assert str(path) in str(caught.value)
    assert "replay_clock" in caught.value.hint
    assert caught.value.exit_code == ExitCode.CONFIG


@pytest.mark.parametrize(
    ("at", "length", "start"),
    [
        (0, 60, 0),
        (59, 60, 0),
        (60, 60, 60),
        (1_357_035_300, 2_419_200, 1_354_752_000),
        (-1, 60, -60),
        (7 * 86_400, 604_800, 604_800),
    ],
)
def test_windows_are_aligned_to_the_utc_epoch(at, length, start):
    """[k·w, (k+1)·w), before 1970 as well."""
    assert window_start(at, length) == start
    assert start <= at < start + length
