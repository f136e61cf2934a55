"""When a policy's own appetite meets its caps: the lint's day is the day the accounting refuses."""

import pytest

from discreet_contract.accounting import DAY_SECONDS, Caps, Debit, cap_to_nano, check_caps
from discreet_contract.policy.check import days_until_spent
from policies import built


def first_refusal_day(policy):
    """The day on which a device that reports every window is refused, by running the accounting."""
    caps = Caps(*(cap_to_nano(getattr(policy.budget, name)) for name in ("per_28_days", "per_365_days", "lifetime")))
    debits = []
    starts = sorted(
        (start, cap_to_nano(metric.epsilon))
        for metric in policy.metrics.values()
        for start in range(0, 400 * DAY_SECONDS, metric.window_seconds)
    )
    for start, nano in starts:
        if check_caps(debits, caps, Debit(start, nano)) is not None:
            return start / DAY_SECONDS
        debits.append(Debit(start, nano))
    return None


@pytest.mark.parametrize(
    ("edits", "day"),
    [
        ([], None),
        ([("lifetime: 120.0", "lifetime: 8.5")], 56),
        ([("per_365_days: 42.0", "per_365_days: 12")], 112),
        ([("window: 28d", "window: 7d")], 14),
        ([("window: 28d", "window: 13d"), ("lifetime: 120.0", "lifetime: 30")], 26),
    ],
)
def test_the_day_the_budget_is_spent_is_the_day_of_the_first_refusal(edits, day):
    """The closed form and the accounting agree, whatever cap comes first."""
    policy = built(*edits)

    assert first_refusal_day(policy) == day
    if day is not None:
        assert days_until_spent(policy) == day


def test_a_steady_policy_is_stopped_by_its_lifetime():
    """Three a window at ε = 1: forty windows of four weeks."""
    assert days_until_spent(built()) == 40 * 28


def test_a_policy_within_every_cap_never_stops():
    """A hundred years is for ever."""
    assert days_until_spent(built(("lifetime: 120.0", "lifetime: 4000.0"))) is None


def test_a_cap_that_is_passed_after_many_short_windows_is_found():
    """Thirty thousand one-minute windows of ε = 0.001 pass a cap of 30 in 28 days."""
    policy = built(
        ("window: 28d", "window: 1m"), ("epsilon: 1.0", "epsilon: 0.001"), ("per_28_days: 4.0", "per_28_days: 32.0")
    )

    assert days_until_spent(policy) == pytest.approx(30_000 / 1440)


def test_a_decimal_budget_is_not_refused_for_its_binary_tail():
    """2.011 + 1 + 1 fits a cap of 4.011, although no binary fraction is 2.011."""
    policy = built(("epsilon: 1.0", "epsilon: 2.011"), ("per_28_days: 4.0", "per_28_days: 4.011"))

    assert policy.budget.per_28_days == 4.011
