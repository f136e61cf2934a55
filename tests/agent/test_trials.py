"""Enrolment follows the policy in force and the device's secret alone, whatever the device lived through."""

from dataclasses import replace

import pytest

from device_bench import Bench, MachineClock
from discreet_agent.consent import Word, write_word
from discreet_agent.trials.facts import Facts, read_installed
from discreet_agent.trials.standing import phase_of
from discreet_contract.clock import ManualClock
from personal_bench import NOW, NOW_MS
from trial_bench import position, standings, trial, trial_policy

DAY = 86_400
TOMORROW = (NOW_MS // 1000 // DAY + 1) * DAY


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, clock=ManualClock(NOW_MS), policy=trial_policy())
    yield bench
    bench.close()


def half_of(device):
    """Slots that hold this device, and those of the layer's other half."""
    halves = ["0%-50%"], ["50%-100%"]
    return halves if position(device) < 5000 else halves[::-1]


def obey(device, policy):
    device.pipeline.adopt(policy)
    device.pipeline.personalize()


def test_an_announced_experiment_may_be_moved_until_it_begins(bench):
    """The device never took part: it is in whatever the newer policy draws it for, and can come back."""
    device = bench.open()
    own, others = half_of(device)
    obey(device, trial_policy(2, first=trial(start="2023-11-25", slots=own)))
    assert device.pipeline.trials._known()["first"].left_ms is None
    second = trial(salt="second-2023-k2", slots=own)
    obey(device, trial_policy(3, first=trial(start="2023-11-25", slots=others), second=second))
    assert standings(device) == {"first": "NOT_DRAWN", "second": "ENROLLED"}
    assert list(device.pipeline.trials.arms()) == ["second"]
    assert "first" not in device.pipeline.trials._known()


def test_a_device_that_was_away_while_a_layer_was_shared_out_anew_is_in_one_experiment(bench):
    """It began under the old shares; under the new ones it belongs to another, and leaves the first for good."""
    device = bench.open()
    own, others = half_of(device)
    obey(device, trial_policy(2, first=trial(slots=own)))
    assert standings(device) == {"first": "ENROLLED"}
    bench.at(NOW + 10)
    second = trial(salt="second-2023-k2", slots=own)
    obey(device, trial_policy(3, first=trial(slots=others), second=second))
    assert standings(device) == {"first": "NOT_DRAWN", "second": "ENROLLED"}
    obey(device, trial_policy(4, first=trial(slots=own)))
    assert standings(device) == {"first": "NOT_DRAWN"}
    assert device.pipeline.trials.arms() == {}
    assert device.pipeline.trials.arm_throughout("first", TOMORROW, TOMORROW + DAY) is None


def test_whoever_is_in_stays_in_when_its_public_facts_change(bench):
    """An upgrade of the app is no reason to leave; one who comes later must fit."""
    newest = {"==": [{"var": "release"}, "9.1"]}
    bench.policy = trial_policy(first=trial(traffic="100%", enrol=newest))
    device = bench.open()
    device.pipeline.personalize()
    assert standings(device) == {"first": "NOT_MEANT"}
    trials = device.pipeline.trials
    for release, standing in (("9.1", "ENROLLED"), ("9.2", "ENROLLED")):
        trials.adopt(with_release(trials._device, release))
        trials.tick()
        assert standings(device) == {"first": standing}


def with_release(device, release):
    """The same device after an upgrade."""
    return replace(device, facts=Facts("linux", release))


def test_a_no_ends_it_whatever_the_clock_said(bench):
    """The no that was said since is another one: no time is compared with another clock's."""
    bench.policy = trial_policy(consent="opt-in", first=trial(traffic="100%"))
    bench.open()
    write_word(bench.folder, Word("on", NOW_MS))
    device = bench.open()
    device.pipeline.personalize()
    assert standings(device) == {"first": "ENROLLED"}
    write_word(bench.folder, Word("on", NOW_MS + 1, refused_ms=NOW_MS - 40 * DAY * 1000))  # said under a slow clock
    device.pipeline.personalize()
    assert standings(device) == {"first": "OPTED_OUT"}
    assert device.pipeline.trials.arms() == {}


def test_a_yes_to_more_is_no_opting_out(bench):
    """A policy that asks for more pauses; when the owner agrees, the device is still in its experiments."""
    bench.policy = trial_policy(consent="opt-in", first=trial(traffic="100%"))
    bench.open()
    write_word(bench.folder, Word("on", NOW_MS, refused_ms=7))
    device = bench.open()
    device.pipeline.personalize()
    write_word(bench.folder, Word("on", NOW_MS + 10_000, refused_ms=7))
    bench.at(NOW + 20)
    device.pipeline.personalize()
    assert standings(device) == {"first": "ENROLLED"}


def test_nothing_is_written_while_nothing_changes(bench):
    """A tick a second, for a day: not one row."""
    bench.policy = trial_policy(first=trial(traffic="100%"))
    device = bench.open()
    device.pipeline.personalize()
    before = device.store.connection.total_changes
    for second in range(0, DAY, 600):
        bench.at(NOW + second)
        device.pipeline.trials.tick()
    assert device.store.connection.total_changes == before


def test_a_clock_known_to_be_wrong_decides_nothing(tmp_path):
    """Neither who enters nor who leaves, nor the day of installation; what was decided stays."""
    clock = MachineClock()
    bench = Bench(tmp_path, clock=clock, policy=trial_policy())
    device = bench.open()
    device.pipeline.close_windows()
    (tmp_path / "installed").unlink(missing_ok=True)
    clock.wait(60)
    clock.set_wall(-400 * DAY)
    device.pipeline.adopt(trial_policy(2, first=trial(traffic="100%", enrol={"var": "cohorts.young"})))
    device.pipeline.personalize()
    assert standings(device) == {"first": "CLOCK_UNKNOWN"}
    assert read_installed(tmp_path) is None
    clock.set_wall(0)
    device.pipeline.personalize()
    assert standings(device) == {"first": "ENROLLED"}
    assert read_installed(tmp_path) == "2023-11-15"
    clock.set_wall(400 * DAY)
    device.pipeline.personalize()
    assert list(device.pipeline.trials.arms()) == ["first"]
    bench.close()


def test_a_clock_that_was_ahead_keeps_nobody_out(tmp_path):
    """Enrolled by a clock that nothing contradicted yet; when it is set right, the device takes part from then on."""
    clock = MachineClock(wrong_ms=20 * DAY * 1000)
    bench = Bench(tmp_path, clock=clock, policy=trial_policy(first=trial(traffic="100%")))
    device = bench.open()
    device.pipeline.personalize()
    clock.wait(60)
    clock.set_wall(0)
    clock.synchronized = True
    device.pipeline.personalize()
    assert list(device.pipeline.trials.arms()) == ["first"]
    [told] = device.pipeline.trials.describe()
    assert told["since_ms"] == clock.now_ms()
    bench.close()


def test_the_day_of_installation_outlives_a_database_that_is_set_aside(bench):
    """It stands in a file of its own."""
    bench.policy = trial_policy(first=trial(traffic="100%"))
    bench.open().pipeline.personalize()
    bench.close()
    (bench.folder / "agent.db").write_bytes(b"not a database" * 1000)
    bench.at(NOW + 30 * DAY)
    device = bench.open()
    device.pipeline.personalize()
    assert device.store.counters()["databases_set_aside"] == {"": 1}
    assert read_installed(bench.folder) == "2023-11-20"


def test_a_phase_is_named_by_what_is_done():
    """Words do not change it, a ramp does; nor does a key of a later language at its default."""
    first = trial_policy(first=trial()).policy.experiments["first"]
    same = trial_policy(first=trial(hypothesis="In tests, said otherwise: something moves by half.")).policy
    more = trial_policy(first=trial(traffic="60%")).policy
    assert phase_of(first) == phase_of(same.experiments["first"]) == "918bd488038e"
    assert phase_of(more.experiments["first"]) != phase_of(first)


def test_each_reason_has_its_name(bench):
    """Ended, stopped, not drawn, held out of the layer: the owner is told which."""
    device = bench.open()
    own, others = half_of(device)
    ended = trial(start="2023-10-01", end="2023-11-01", slots=own, salt="b-2023-salt")
    stopped = trial(layer="other", flag="rows", traffic="100%", salt="a-2023-salt")
    obey(device, trial_policy(2, killed=["stopped"], first=trial(slots=others), ended=ended, stopped=stopped))
    assert standings(device) == {"first": "NOT_DRAWN", "ended": "ENDED", "stopped": "KILLED"}
    obey(device, trial_policy(3, holdout="99.99%", first=trial(traffic="0.01%")))
    assert standings(device) == {"first": "LAYER_HELD_OUT"}
