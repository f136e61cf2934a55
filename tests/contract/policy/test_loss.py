"""Loss by plain addition, recomputed, and the tight figure beside it."""

import math

import msgspec
import pytest

from discreet_contract.policy.compile import load_policy
from discreet_contract.policy.loss import DELTA, SPANS, can_be_tight, loss_of, metric_loss
from policies import EXHAUSTIBLE, FLIGHTS, HOST, MEDIA, built

needs_audit = pytest.mark.skipif(not can_be_tight(), reason="dp-accounting is not installed (extra audit)")


def with_metrics(count, epsilon, window):
    """Flights with so many equal metrics and no cap in the way."""
    policy = load_policy(FLIGHTS)
    metric = msgspec.structs.replace(policy.metrics["late_departure"], epsilon=epsilon, window=window)
    budget = msgspec.structs.replace(policy.budget, per_28_days=1e6, per_365_days=1e6, lifetime=1e6)
    metrics = {f"m{index}": metric for index in range(count)}
    return msgspec.structs.replace(policy, metrics=metrics, budget=budget)


def delta_of(epsilon, releases, total):
    """δ at `total` of so many randomised responses, summed over how many of them told the truth."""
    truth = math.exp(epsilon) / (1 + math.exp(epsilon))
    return sum(
        math.comb(releases, k)
        * truth**k
        * (1 - truth) ** (releases - k)
        * max(0.0, 1 - math.exp(total - epsilon * (2 * k - releases)))
        for k in range(releases + 1)
    )


@pytest.mark.parametrize("path", [FLIGHTS, HOST], ids=lambda p: p.stem)
@pytest.mark.parametrize("days", SPANS)
def test_the_plain_figure_is_the_sum_under_the_caps(path, days):
    policy = load_policy(path)
    asked = sum(m.epsilon * -(-days * 86_400 // m.window_seconds) for m in policy.metrics.values())
    budget = policy.budget
    spans = -(-days // 28), -(-days // 365)
    caps = budget.per_28_days * spans[0], budget.per_365_days * spans[1], budget.lifetime

    assert loss_of(policy, days).at_most == pytest.approx(min(asked, *caps))


@needs_audit
@pytest.mark.parametrize("path", [FLIGHTS, HOST], ids=lambda p: p.stem)
@pytest.mark.parametrize("days", SPANS)
def test_the_tight_figure_is_never_above_the_plain_one(path, days):
    loss = loss_of(load_policy(path), days, tight=True)

    assert loss.tight is not None
    assert 0 < loss.tight <= loss.at_most


@needs_audit
@pytest.mark.parametrize(("epsilon", "window", "known"), [(0.1, "1d", 10.34), (0.5, "9d", None)])
def test_the_tight_figure_is_that_of_the_binomial_sum(epsilon, window, known):
    """Against δ(ε) summed by hand; 365 × 0.1 is 10.3 where plain addition says 36.5."""
    policy = with_metrics(1, epsilon, window)
    releases = math.ceil(365 / int(window[:-1]))
    tight = loss_of(policy, 365, tight=True).tight

    assert delta_of(epsilon, releases, tight) <= DELTA
    assert delta_of(epsilon, releases, tight - 0.05) > DELTA
    assert known is None or tight == pytest.approx(known, abs=0.05)


@needs_audit
def test_metrics_of_different_cost_that_compete_for_a_cap_have_no_tight_figure():
    """Which of them win is not fixed, so the plain sum is what can be said."""
    policy = built(EXHAUSTIBLE, ("epsilon: 1.0", "epsilon: 0.5"), ("per_365_days: 42.0", "per_365_days: 10.0"))

    assert loss_of(policy, 365, tight=True).tight is None


def test_without_metrics_nothing_is_lost():
    loss = loss_of(with_metrics(0, 1.0, "1d"), 365, tight=True)

    assert (loss.asked, loss.at_most) == (0, 0)


def test_a_memoised_metric_is_paid_for_once():
    """Its lifetime is its ε, in a day as in ten years; the budget lasts."""
    origin = "per_device: {most_frequent: origin}\n"
    policy = built((origin, f"{origin}    longitudinal: memoised\n"))

    assert [metric_loss(policy, "main_origin", days) for days in (1, 30, 365)] == [1.0, 1.0, 1.0]
    assert loss_of(policy, 365).asked == loss_of(built(), 365).asked - 13
    assert policy.metrics["main_origin"].mechanism == "lgrr-1"


def test_metrics_that_take_turns_cost_what_the_dearest_costs():
    """One of them in each window."""
    media = load_policy(MEDIA)

    assert loss_of(media, 28).asked == pytest.approx(1.0 + 0.4 + 0.3)
    assert loss_of(media, 365).asked == pytest.approx(14 * 1.7)
