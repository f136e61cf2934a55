"""Segments: who enters, who stays, who leaves; and what happens where nobody can say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discreet_agent.personal.segments import compile_segment, judge, known
from discreet_agent.personal.values import FeatureValue, ScoreValue, SegmentState
from discreet_contract.policy.personalization import Segment

HOUR = 3_600_000
NOW = 1_790_000_000_000
MINUTES = {">": [{"var": "minutes"}, 600]}
BELOW = {"<": [{"var": "minutes"}, 300]}


def segment(when=MINUTES, until=None, min_stay="0s"):
    return compile_segment("binge", Segment(when=when, until=until, min_stay=min_stay))


def seen(*, scores=(), **values):
    """What segments read, of features given by name."""
    features = [FeatureValue(name, "v1", value, 0, 1.0) for name, value in values.items()]
    return known(features, [ScoreValue(name, value) for name, value in scores])


def inside(since=NOW):
    return SegmentState("binge", is_inside=True, since_ms=since)


OUTSIDE = SegmentState("binge", is_inside=False, since_ms=None)


def test_a_device_enters_where_the_condition_holds_and_leaves_where_it_does_not():
    """Each change at its moment; without a change the very same state."""
    rule = segment()
    entered = judge(rule, None, seen(minutes=601), NOW)
    assert entered == inside()
    assert judge(rule, entered, seen(minutes=700), NOW + 1) is entered
    left = judge(rule, entered, seen(minutes=600), NOW + HOUR)
    assert left == SegmentState("binge", is_inside=False, since_ms=NOW + HOUR)


def test_who_never_was_inside_has_no_moment():
    """Until the first entry."""
    assert judge(segment(), None, seen(minutes=1), NOW) == OUTSIDE


@pytest.mark.parametrize(("minutes", "stays"), [(700, True), (400, True), (300, True), (299, False)])
def test_hysteresis(minutes, stays):
    """With `until` a device stays where neither holds."""
    state = judge(segment(until=BELOW), inside(), seen(minutes=minutes), NOW + HOUR)
    assert state.is_inside is stays


def test_who_would_leave_at_once_does_not_enter():
    """Where both hold, nothing flaps."""
    rule = segment(until={">": [{"var": "crashes"}, 0]})
    assert judge(rule, OUTSIDE, seen(minutes=700, crashes=1), NOW) is OUTSIDE
    assert judge(rule, OUTSIDE, seen(minutes=700, crashes=0), NOW).is_inside


@pytest.mark.parametrize(("elapsed", "stays"), [(0, True), (HOUR - 1, True), (HOUR, False)])
def test_nobody_leaves_before_the_minimum_stay(elapsed, stays):
    """Counted from the entry."""
    assert judge(segment(min_stay="1h"), inside(), seen(minutes=0), NOW + elapsed).is_inside is stays


def test_the_minimum_stay_does_not_hold_anybody_outside():
    """It is a stay, not a wait."""
    left = SegmentState("binge", is_inside=False, since_ms=NOW)
    assert judge(segment(min_stay="1d"), left, seen(minutes=700), NOW + 1).is_inside


@pytest.mark.parametrize("state", [OUTSIDE, inside()])
@pytest.mark.parametrize(
    "when",
    [
        MINUTES,
        {"<": [{"var": "features.minutes"}, 600]},
        {"!": {"var": "minutes"}},
        {"or": [{">": [{"var": "evening"}, 0]}, {"==": [{"var": "minutes"}, 0]}]},
    ],
)
def test_where_a_value_is_missing_nothing_changes(state, when):
    """Even if JSONLogic would take null for zero."""
    assert judge(segment(when), state, seen(minutes=None, evening=1), NOW + HOUR) is state


def test_a_missing_score_is_missing_too():
    """By its plain name and by its group."""
    for name in ("evening", "scores.evening"):
        rule = segment({">": [{"var": name}, 0.5]})
        assert judge(rule, inside(), seen(scores=[("evening", None)]), NOW + 1) == inside()
        assert judge(rule, OUTSIDE, seen(scores=[("evening", 0.9)]), NOW).is_inside


def test_a_missing_value_of_until_keeps_whoever_is_inside():
    """And whoever is outside enters by `when` alone."""
    rule = segment(until={">": [{"var": "crashes"}, 0]})
    assert judge(rule, inside(), seen(minutes=0, crashes=None), NOW + 1) == inside()
    assert judge(rule, OUTSIDE, seen(minutes=700, crashes=None), NOW).is_inside


@pytest.mark.parametrize(
    "when", [{"<": [{"var": ["minutes", 0]}, 1]}, {"missing": ["minutes"]}, {"!": {"missing_some": [0, ["minutes"]]}}]
)
def test_a_rule_may_say_what_a_missing_value_means(when):
    """By a default of its own, or by asking what is missing."""
    assert judge(segment(when), OUTSIDE, seen(minutes=None), NOW).is_inside


def test_a_category_that_never_came_is_nothing_missing():
    """The feature has a value; the category has none in it."""
    rule = segment({"!": {">": [{"var": "genres.sport"}, 1]}})
    assert judge(rule, OUTSIDE, seen(genres={"news": 3}), NOW).is_inside


def test_a_clock_set_back_lets_the_stay_begin_anew():
    """At most one minimum stay longer, however far the clock went back."""
    rule = segment(min_stay="1h")
    state = judge(rule, inside(NOW), seen(minutes=0), NOW - 90 * 24 * HOUR)
    assert state == inside(NOW - 90 * 24 * HOUR)
    assert not judge(rule, state, seen(minutes=0), state.since_ms + HOUR).is_inside


@pytest.mark.parametrize("when", [{"nonsense": [1]}, {"$ref": "absent"}, {"!": [{"nonsense": 1}]}])
def test_a_broken_rule_changes_nothing(when):
    """It neither holds nor does not."""
    for state in (OUTSIDE, inside()):
        assert judge(segment(when), state, seen(minutes=1), NOW + HOUR) is state


def test_a_rule_too_deep_changes_nothing():
    """The policy's other segments live on."""
    deep = {"var": "minutes"}
    for _ in range(200):
        deep = {"!": [deep]}
    assert judge(segment(deep), inside(), seen(minutes=1), NOW + HOUR) == inside()


MOMENTS = st.lists(st.tuples(st.integers(0, 10 * HOUR), st.none() | st.integers(0, 1000)), max_size=30)


@given(MOMENTS, st.sampled_from([None, BELOW]), st.sampled_from(["0s", "1h", "3h"]))
def test_no_stay_is_too_short_and_no_moment_lies_ahead(moments, until, min_stay):
    """For rising time: every stay lasts its minimum; states change only where a value says so."""
    rule, state, entered = segment(until=until, min_stay=min_stay), None, None
    for moment, minutes in sorted(moments, key=lambda pair: pair[0]):
        before = state
        state = judge(rule, state, seen(minutes=minutes), moment)
        assert state.since_ms is None or state.since_ms <= moment
        changed = state.is_inside != (before is not None and before.is_inside)
        assert not (changed and minutes is None)
        if changed and state.is_inside:
            entered = moment
        elif changed:
            assert moment - entered >= rule.min_stay_ms


def test_nothing_of_the_state_is_printed():
    """P1: whether somebody is in a segment is nobody's to log."""
    assert "True" not in repr(inside())
