"""No cap is ever passed and nothing is refused without need, for any order of windows (P2)."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from discreet_contract.accounting import DAY_SECONDS, CapName, Caps, Debit, check_caps

SPANS = {CapName.PER_28_DAYS: 28 * DAY_SECONDS, CapName.PER_365_DAYS: 365 * DAY_SECONDS, CapName.LIFETIME: None}

# Days close together and a span's length apart, so that the borders of spans are met often; a few seconds off, too.
days = st.one_of(
    st.integers(0, 60), st.sampled_from([27, 28, 29, 55, 56, 57, 364, 365, 366, 392, 393]), st.integers(0, 800)
)
starts = st.builds(lambda day, off: day * DAY_SECONDS + off, days, st.sampled_from([0, 0, 0, -1, 1, 3600]))
debits = st.builds(Debit, starts, st.integers(1, 9))
caps = st.builds(Caps, st.integers(1, 30), st.integers(1, 60), st.integers(1, 90))


def fullest(charged, length):
    """The largest sum in any span [t, t + length): it can always be slid until it starts at a debit."""
    if length is None:
        return sum(debit.nano for debit in charged)
    return max(
        (sum(o.nano for o in charged if 0 <= o.window_start - d.window_start < length) for d in charged), default=0
    )


def passed_caps(charged, limits):
    """Names of the caps that these debits pass, the tightest span first."""
    return [name for name, length in SPANS.items() if fullest(charged, length) > getattr(limits, name.value)]


@given(st.lists(debits, max_size=30), caps)
def test_no_span_ever_holds_more_than_its_cap(attempts, limits):
    """Whatever is asked in whatever order: a charge is made exactly when it passes no cap."""
    charged = []
    for asked in attempts:
        refusal = check_caps(charged, limits, asked)
        would_pass = passed_caps([*charged, asked], limits)

        assert (refusal is None) == (would_pass == [])
        if refusal is None:
            charged.append(asked)
        else:
            assert refusal.cap in would_pass
            assert refusal.resets_at is None or CapName.LIFETIME not in would_pass
        assert passed_caps(charged, limits) == []


@given(st.lists(debits, max_size=12), caps, debits)
def test_a_refusal_says_what_was_left(charged, limits, asked):
    """`spent` is the fullest span around the asked window, `left` what that leaves of the cap."""
    refusal = check_caps(charged, limits, asked)
    if refusal is None:
        return
    length, cap = SPANS[refusal.cap], getattr(limits, refusal.cap.value)
    around = [
        sum(d.nano for d in charged if 0 <= d.window_start - left < length)
        for left in [asked.window_start, *(d.window_start for d in charged)]
        if 0 <= asked.window_start - left < length
    ] if length else [sum(d.nano for d in charged)]  # fmt: skip

    assert refusal.spent == max(around)
    assert refusal.left == max(cap - refusal.spent, 0)
    assert refusal.left < refusal.asked == asked.nano


@given(
    st.lists(st.builds(Debit, days.map(lambda day: day * DAY_SECONDS), st.integers(1, 9)), max_size=12), caps, debits
)
def test_the_reset_is_the_first_start_that_fits(charged, limits, asked):
    """No day before it fits under the refusing cap, and it does."""
    refusal = check_caps(charged, limits, asked)
    if refusal is None or SPANS[refusal.cap] is None:
        return
    cap, length = getattr(limits, refusal.cap.value), SPANS[refusal.cap]

    def fits(start):
        moved = Debit(start, asked.nano)
        near = [d for d in charged if abs(d.window_start - start) < length]
        return all(
            sum(d.nano for d in near if 0 <= d.window_start - left < length) + moved.nano <= cap
            for left in [start, *(d.window_start for d in near)]
            if 0 <= start - left < length
        )

    if refusal.resets_at is None:
        assert asked.nano > cap
        return
    assert refusal.resets_at > asked.window_start
    assert fits(refusal.resets_at)
    first_day = asked.window_start // DAY_SECONDS + 1
    assert not any(fits(day * DAY_SECONDS) for day in range(first_day, -(-refusal.resets_at // DAY_SECONDS)))


@given(st.lists(debits, max_size=8), caps)
def test_the_order_in_which_debits_are_remembered_does_not_matter(charged, limits):
    """A ledger read back in another order gives the same verdict."""
    asked = Debit(30 * DAY_SECONDS, 3)

    assert check_caps(charged, limits, asked) == check_caps(charged[::-1], limits, asked)


def test_the_yardstick_itself_agrees_with_every_subset():
    """`fullest` against the definition, on a small case: the widest set of debits that fits into one span."""
    charged = [Debit(day * DAY_SECONDS, nano) for day, nano in ((0, 3), (10, 1), (27, 2), (28, 5), (55, 4))]
    length = 28 * DAY_SECONDS
    brute = max(
        sum(d.nano for d in subset)
        for size in range(1, 6)
        for subset in combinations(charged, size)
        if max(d.window_start for d in subset) - min(d.window_start for d in subset) < length
    )

    assert fullest(charged, length) == brute == 9
