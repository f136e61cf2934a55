"""Rate limits by sender and signal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench import make_policy
from discreet_agent.event import EventRefusal, Refused
from discreet_agent.rates import MAX_BUCKETS, MINUTE_MS, Rates

SIGNAL = "door.opened"
BOOT = 5_000_000


def rates(limit):
    edits = () if limit is None else (("    retention: 3d\n", f"    retention: 3d\n    max_per_minute: {limit}\n"),)
    return Rates(make_policy(edits=edits).policy)


def taken(bucket, events, at=BOOT, sender=""):
    return [bucket.take(sender, SIGNAL, at) for _ in range(events)].count(None)


def test_without_a_limit_everything_passes():
    free = rates(None)

    assert not free
    assert taken(free, 1000) == 1000
    assert len(free) == 0


def test_so_many_at_once_and_no_more():
    assert taken(rates(60), 100) == 60


def test_a_refusal_says_rule_asked_left_and_when():
    """P9. One token comes back every second, so after a burst that is the wait."""
    limited = rates(60)
    taken(limited, 60)

    assert limited.take("", SIGNAL, BOOT + 250) == Refused(
        EventRefusal.RATE_LIMITED,
        "door.opened takes 60 events a minute from one sender (max_per_minute); 1 asked, 0 left, "
        "the next is taken in 750 ms",
    )


@pytest.mark.parametrize("limit", [1, 7, 60, 1_000_000])
def test_the_next_is_taken_when_it_was_said(limit):
    """Not a millisecond before, and exactly then."""
    limited = rates(limit)
    assert taken(limited, limit) == limit
    refused = limited.take("", SIGNAL, BOOT)
    wait_ms = int(refused.detail.split()[-2])

    assert wait_ms == -(-MINUTE_MS // limit)
    assert isinstance(limited.take("", SIGNAL, BOOT + wait_ms - 1), Refused)
    assert limited.take("", SIGNAL, BOOT + wait_ms) is None


def test_senders_do_not_share_and_a_refused_event_costs_nothing():
    limited = rates(10)

    assert taken(limited, 50, sender="a") == 10
    assert taken(limited, 50, sender="b") == 10
    assert taken(limited, 5, at=BOOT + 6_000, sender="a") == 1


def test_no_more_is_saved_up_than_a_minute_gives():
    limited = rates(10)
    taken(limited, 3)

    assert taken(limited, 100, at=BOOT + 100 * MINUTE_MS) == 10


def test_memory_is_bounded_whatever_names_come():
    """Full buckets are forgotten first, then the longest untouched."""
    limited = rates(2)
    for number in range(MAX_BUCKETS + 100):
        limited.take(f"sender {number}", SIGNAL, BOOT + number)
    assert len(limited) == MAX_BUCKETS

    limited.take("another", SIGNAL, BOOT + 2 * MINUTE_MS)
    assert len(limited) == 1


@given(st.integers(1, 200), st.lists(st.integers(0, 90_000), min_size=1, max_size=200))
def test_in_no_stretch_of_time_more_than_the_burst_and_what_came_back(limit, gaps):
    """For any times of arrival: at most `limit` at once plus `limit` a minute, and never fewer than a minute allows."""
    limited = rates(limit)
    now, times = BOOT, []
    for gap in gaps:
        now += gap
        if limited.take("", SIGNAL, now) is None:
            times.append(now)

    for first in range(len(times)):
        for last in range(first, len(times)):
            assert (last - first + 1) * MINUTE_MS <= limit * MINUTE_MS + (times[last] - times[first]) * limit
    assert len(times) >= min(len(gaps), limit)
