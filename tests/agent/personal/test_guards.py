"""Guards: too many events after a change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discreet_agent.personal.guards import compile_guard, concerns, counts, is_over, trips, trips_at
from discreet_contract.policy.operation import Guard

CHANGED = 1_790_000_000_000
HOUR = 3_600_000


def guard(at_most=2, window="1h", where=None):
    declared = Guard(from_="app.crashed", flags=("autoplay",), at_most=at_most, window=window, where=where)
    return compile_guard("crashes", declared)


@pytest.mark.parametrize(
    ("after_ms", "reverts"),
    [
        ([], False),
        ([0, 1], False),
        ([0, 1, HOUR - 1], True),
        ([0, 1, HOUR], False),
        ([-1, -2, -3, 0, 1], False),
        ([5, 5, 5], True),
    ],
)
def test_it_trips_above_its_bound_within_its_window(after_ms, reverts):
    """From the change on, to its window's end; what happened before does not count."""
    assert trips(guard(), [CHANGED + ms for ms in after_ms], CHANGED) is reverts


def test_a_bound_of_zero_trips_at_the_first():
    """“How many are still tolerated”: none."""
    assert trips(guard(at_most=0), [CHANGED], CHANGED)
    assert not trips(guard(at_most=0), [], CHANGED)


def test_a_window_that_has_ended_is_over():
    """The change has stood the test."""
    assert not is_over(guard(), CHANGED, CHANGED + HOUR - 1)
    assert is_over(guard(), CHANGED, CHANGED + HOUR)
    assert not is_over(guard(), CHANGED, CHANGED - HOUR)


def test_it_counts_its_own_signal_and_what_its_condition_holds_for():
    """Other events are nothing to it."""
    fatal = guard(where={"==": [{"var": "severity"}, "fatal"]})
    assert concerns(fatal, "app.crashed", {"severity": "fatal"})
    assert not concerns(fatal, "app.crashed", {"severity": "mild"})
    assert not concerns(fatal, "app.started", {"severity": "fatal"})
    assert concerns(guard(), "app.crashed", {})


@given(st.lists(st.integers(-2 * HOUR, 2 * HOUR)), st.integers(0, 5))
def test_a_kept_count_says_the_same(after_ms, at_most):
    """For events in any order."""
    rule = guard(at_most=at_most)
    counted = sum(counts(rule, CHANGED + ms, CHANGED) for ms in after_ms)
    assert trips_at(rule, counted) is trips(rule, [CHANGED + ms for ms in reversed(after_ms)], CHANGED)
