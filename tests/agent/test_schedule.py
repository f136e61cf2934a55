"""Which windows are due: arithmetic, against a naive count."""

from hypothesis import given
from hypothesis import strategies as st

from device_bench import HOUR, START, make_policy
from discreet_agent.schedule import due_windows

POLICY = make_policy()
NAMES = tuple(POLICY.plans)
LATENESS, HORIZON = 60, 86_400 + 60  # seconds; the horizon counts from the window's end


@given(st.integers(0, 200), st.integers(-5 * HOUR, 200 * HOUR))
def test_due_windows_are_those_that_are_over_and_not_too_late(behind, ahead):
    """Every window since the last closed one is due, expired, or not over yet; none is both, none is missing."""
    following, now = START + behind * HOUR, START + ahead
    due = list(due_windows(POLICY, dict.fromkeys(NAMES, following), now * 1000))

    naive = [s for s in range(following, now + HOUR, HOUR) if s + HOUR + LATENESS <= now]
    alive = [s for s in naive if s + HOUR + HORIZON >= now]
    assert [item.start for item in due] == alive
    assert all(tuple(plan.name for plan in item.plans) == NAMES for item in due)
    if due:
        assert due[0].expired == dict.fromkeys(NAMES, len(naive) - len(alive))
        assert all(count == 0 for item in due[1:] for count in item.expired.values())
