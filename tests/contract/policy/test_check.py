"""When a policy's own appetite meets its caps: the day in the message is the day the accounting refuses."""

import pytest

from discreet_contract.accounting import DAY_SECONDS, Caps, Debit, cap_to_nano, check_caps
from discreet_contract.errors import PolicyError
from discreet_contract.policy.check import days_until_spent, first_refusals
from policies import built

MAY_RUN_OUT = ("budget:\n", "budget:\n  exhaustible: it is what these tests are about\n")


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
    policy = built(MAY_RUN_OUT, *edits)

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
        MAY_RUN_OUT,
        ("window: 28d", "window: 1m"),
        ("epsilon: 1.0", "epsilon: 0.001"),
        ("per_28_days: 4.0", "per_28_days: 32.0"),
    )

    assert days_until_spent(policy) == pytest.approx(30_000 / 1440)


def test_a_decimal_budget_is_not_refused_for_its_binary_tail():
    """2.011 + 1 + 1 fits a cap of 4.011, although no binary fraction is 2.011."""
    policy = built(MAY_RUN_OUT, ("epsilon: 1.0", "epsilon: 2.011"), ("per_28_days: 4.0", "per_28_days: 4.011"))

    assert policy.budget.per_28_days == 4.011


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([("lifetime: 120.0", "lifetime: 8.5")], ("p.yaml:16:13: BUDGET a device that reports every window is first "
         "refused by this cap on day 56; send less, raise the cap, or say why under `exhaustible`")),
        ([("per_365_days: 42.0", "per_365_days: 12")], ("p.yaml:15:17: BUDGET a device that reports every window is "
         "first refused by this cap on day 112; send less, raise the cap, or say why under `exhaustible`")),
        ([("per_365_days: 42.0", "per_365_days: 12\n  exhaustible: meant")], ("p.yaml:15:17: BUDGET a device that "
         "reports every window is first refused by this cap on day 112; say so in words, three or more")),
    ],
)  # fmt: skip
def test_a_policy_that_runs_out_is_refused_with_the_day(edits, message):
    """Unless it says why it means to."""
    with pytest.raises(PolicyError) as caught:
        built(*edits)

    assert str(caught.value).splitlines() == [message]


def test_a_lifetime_cap_need_only_last_for_the_life_of_a_device():
    """Forty windows of four weeks are 1,120 days: enough for three years, not for four."""
    assert first_refusals(built()) == {}
    with pytest.raises(PolicyError, match="on day 1120"):
        built(("lifetime: 120.0", "lifetime: 120.0\n  device_life: 1461d"))


def test_metrics_that_take_turns_cost_what_one_of_them_costs():
    """Two of three take turns: two a window, and the same caps last half as long again."""
    turns = [("per_device: any", "rotate: delays\n    per_device: any")]
    turns.append(("per_device: count", "rotate: delays\n    per_device: count"))

    assert days_until_spent(built(*turns)) == 60 * 28
    assert first_refusals(built(*turns, ("per_365_days: 42.0", "per_365_days: 28.0"))) == {}
