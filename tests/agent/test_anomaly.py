"""An hour unlike the same hour of former weeks is said to be, and hardly ever one like them."""

import numpy as np
import pytest

from discreet_agent.anomaly import Finding, Kind, Runs, comparable, judge, tempered
from discreet_agent.hours import WEEK_HOURS, Hour

NOW = 2000 * WEEK_HOURS


def weeks(counts, means=None):
    """Former hours of the same hour of the week, the latest last."""
    means = means or [{}] * len(counts)
    return [
        Hour(NOW - WEEK_HOURS * (len(counts) - place), count, mean)
        for place, (count, mean) in enumerate(zip(counts, means, strict=True))
    ]


def kinds(count, former, means=None, floors=None):
    found = judge("a", Hour(NOW, count, means or {}), former, floors or {})
    return [(finding.kind, finding.measure) for finding in found]


def test_a_tenfold_hour_is_a_spike_and_a_silent_one_a_drop():
    """Against eight weeks of about a hundred."""
    former = weeks([96, 104, 99, 110, 91, 100, 103, 97])
    assert kinds(1000, former) == [(Kind.SPIKE, "rate")]
    assert kinds(0, former) == [(Kind.DROP, "rate")]
    assert kinds(118, former) == []


def test_silence_at_night_is_usual():
    """And a few events in it are no alarm."""
    former = weeks([0, 1, 0, 0, 2, 0, 0, 0])
    assert kinds(0, former) == []
    assert kinds(6, former) == []
    assert kinds(60, former) == [(Kind.SPIKE, "rate")]


def test_a_mean_is_judged_beside_the_rate():
    """A temperature ten degrees up, as often measured as ever."""
    former = weeks([60] * 8, [{"celsius": 40 + place % 3} for place in range(8)])
    assert kinds(60, former, {"celsius": 55.0}, {"celsius": 0.5}) == [(Kind.SPIKE, "celsius")]
    assert kinds(60, former, {"celsius": 42.5}, {"celsius": 0.5}) == []


def test_means_of_any_size_are_judged():
    """A policy's numbers may be as large as floats are; a square of theirs is not one any more."""
    former = weeks([20] * 8, [{"seconds": 1e200 * (1 + number / 100)} for number in range(8)])
    hour = Hour(former[-1].index + WEEK_HOURS, 20, {"seconds": 9e200})
    [finding] = judge("door.opened", hour, former, {"seconds": 1e198})
    assert (finding.kind, finding.measure) == (Kind.SPIKE, "seconds")


def test_without_enough_history_nothing_is_said():
    """Four weeks of this hour are too few; seven days of this hour of the day are enough."""
    assert comparable(weeks([1] * 4), NOW) == []
    days = [Hour(NOW - 24 * day, 100, {}) for day in range(7, 0, -1)]
    assert len(comparable(days, NOW)) == 7
    assert comparable(days[1:], NOW) == []
    assert len(comparable(weeks([1] * 12), NOW)) == 8
    assert kinds(1000, []) == []


def test_an_incident_does_not_make_the_next_one_usual():
    """It enters history as twice the usual; a lasting change is learnt."""
    former = weeks([100] * 8)
    hour = Hour(NOW, 10_000, {})
    found = judge("a", hour, former, {})
    assert tempered(hour, former, found).count == 201
    history, alarms = [100] * 8, []
    for _ in range(12):
        former = weeks(history[-8:])
        hour = Hour(NOW, 300, {})
        found = judge("a", hour, former, {})
        alarms.append(bool(found))
        history.append(tempered(hour, former, found).count)
    assert alarms[0]
    assert not any(alarms[4:])


def test_the_explanation_names_what_was_seen_and_what_is_usual():
    """For the owner, on the device."""
    [finding] = judge("door.opened", Hour(NOW, 1000, {}), weeks([100] * 8), {})
    assert finding.explanation == ("door.opened had 1000 events in this hour; about 100 is usual, by 8 hours like it")


@pytest.mark.parametrize("rate", [0.3, 3, 30, 300])
def test_regular_hours_are_hardly_ever_flagged(rate):
    """Poisson counts, 20,000 hours against eight weeks each: stated is one in 10,000, both sides together.

    More than 14 of 20,000 would be, at a true rate of 1/10,000, rarer than one build in ten millions.
    """
    draws = np.random.default_rng(7).poisson(rate, (20_000, 9)).tolist()
    alarms = sum(bool(kinds(now, weeks(former))) for now, *former in draws)
    assert alarms <= 14


@pytest.mark.parametrize(("usual", "now"), [(10, 100), (60, 0)], ids=["tenfold", "silence"])
def test_what_the_operations_page_promises_is_found(usual, now):
    """In 95 of 100 devices at the least; 20,000 are simulated, so that chance plays no part."""
    draws = np.random.default_rng(8).poisson(usual, (20_000, 8)).tolist()
    found = sum(bool(kinds(now, weeks(former))) for former in draws)
    assert found >= 19_000


def test_a_stuck_value_is_found_once_and_only_where_values_used_to_change():
    """Runs of up to four were seen; the 50th equal value in a row is one too many."""
    runs = Runs({})
    assert runs.take("a", NOW, "x", [1, 1, 1, 1, 2, 3, 3]) is None
    assert runs.longest == {"x": 4}
    found = [runs.take("a", NOW, "x", [3]) for _ in range(60)]
    assert [finding for finding in found if finding] == [Finding("a", Kind.STUCK, "x", NOW, 50, 4, 0)]
    assert found[47] is not None
    constant = Runs({})
    assert all(constant.take("a", NOW, "x", [5.0] * 100) is None for _ in range(10))


def test_a_long_run_within_one_commit_is_found_too():
    """Its beginning or its end may lie inside the group."""
    runs = Runs({"x": 3})
    assert runs.take("a", NOW, "x", [1, 2] + [4] * 70).kind is Kind.STUCK
    assert runs.take("a", NOW, "x", [4] * 5) is None
