"""What an auditor is told: everything that stays, everything that leaves, and what it can reveal."""

import math

import pytest

from discreet_contract.policy.compile import canonical_json, load_policy, policy_hash
from discreet_contract.policy.explain import best_guess, explain, render
from policies import FLIGHTS, HOST


@pytest.fixture(params=[FLIGHTS, HOST], ids=lambda path: path.stem)
def policy(request):
    return load_policy(request.param)


def test_every_signal_field_and_metric_is_named(policy):
    """Nothing is left out."""
    text = render(explain(policy, policy_hash(canonical_json(policy))))

    for name, signal in policy.signals.items():
        assert name in text
        assert signal.why in text
        assert all(field in text for field in signal.fields)
    for name, metric in policy.metrics.items():
        assert f"  {name}: one {metric.type} value" in text
        assert metric.why in text
    assert policy_hash(canonical_json(policy)).hex() in text


def test_what_cannot_be_undone_is_said(policy):
    """P6: a sent report cannot be recalled, a silent device can be noticed."""
    text = render(explain(policy, bytes(32)))

    assert "cannot be recalled" in text
    assert "a silent one can be noticed" in text


def test_the_loss_is_the_plain_sum_under_its_cap():
    """Three metrics at ε = 1: 3 in 28 days, 42 in a year of up to fourteen windows."""
    loss = explain(load_policy(FLIGHTS), bytes(32))["epsilon"]

    assert loss["per_28_days"] | {"best_guess": None} == {"asked": 3.0, "cap": 4.0, "at_most": 3.0, "best_guess": None}
    assert loss["per_365_days"]["asked"] == 42.0
    assert loss["lifetime_cap"] == 120.0


def test_what_is_asked_beyond_a_cap_is_not_lost():
    """The host's minutes ask for far more than twenty."""
    loss = explain(load_policy(HOST), bytes(32))["epsilon"]["per_28_days"]

    assert loss["asked"] == 28 * 1440
    assert loss["at_most"] == loss["cap"] == 20


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 2.0, 4.0])
def test_the_best_guess_is_that_of_an_even_bet(epsilon):
    """Odds of e^ε to one."""
    guess = best_guess(epsilon)

    assert guess / (1 - guess) == pytest.approx(math.exp(epsilon))
