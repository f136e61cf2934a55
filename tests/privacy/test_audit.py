"""The audit is silent on the honest engine and loud on every planted fault.

Sample sizes are counted, not timed, so that a slow machine finds the same. An honest engine
is called faulty with odds of at most 1e-6 an audit (`FALSE_ALARM`); how surely a fault is
found stands beside each.
"""

import math

import msgspec
import numpy as np
import pytest
from nacl.public import PrivateKey

import faults
from discreet_agent.audited import open_audited
from discreet_contract.audit.bound import lower_bound
from discreet_contract.audit.draws import gap, lanes, rarest_agreement, surprise, widths
from discreet_contract.audit.engine import Effort, audit_policy
from discreet_contract.audit.findings import MEANINGS, Check, Outcome
from discreet_contract.audit.odds import odds_of_value
from discreet_contract.audit.scenario import neighbours
from discreet_contract.mechanisms.catalogue import build
from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.randomized_response import RandomizedResponse
from discreet_contract.policy.compile import build_policy, load_policy
from discreet_contract.policy.plan import plan_metrics
from every_metric import policy_text
from policies import EXAMPLES, FLIGHTS, built, parsed

ALL = load_policy(FLIGHTS)
MEMOISED = faults.planted(faults.as_memoised)
QUICK = Effort(seconds=0, least_reports=240, runs=100)


def only(name, policy=ALL):
    """The policy with one of its metrics."""
    return msgspec.structs.replace(policy, metrics={name: policy.metrics[name]})


def failures(policy, *, path=open_audited, effort=QUICK, **options):
    """Checks that failed."""
    return {one.check for one in audit_policy(policy, path, effort, **options) if one.outcome is Outcome.FAIL}


def reports(least):
    return Effort(seconds=0, least_reports=least, runs=100)


# --- silent


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_honest_engine_passes_every_check(example):
    """Every metric of every example policy, over the real device path; nothing is left out."""
    findings = list(audit_policy(load_policy(example), open_audited, reports(600)))

    assert [one for one in findings if one.outcome is not Outcome.PASS] == []
    assert {one.metric for one in findings} == set(load_policy(example).metrics)


def test_a_memoised_metric_drawn_once_passes():
    """Its reports over twelve windows prove no more than its one charge."""
    policy = only("late_departure")
    assert failures(policy, path=faults.memoised(redraws=False), effort=reports(1200), plans=MEMOISED) == set()


def test_every_metric_type_passes_on_the_device_path():
    """Histograms, selections, open strings, memoised values too; what cannot be drawn from is said, not passed."""
    public = PrivateKey.generate().public_key.encode().hex()
    policy = build_policy(parsed(policy_text(public, 1.0)))
    findings = list(audit_policy(policy, open_audited, Effort(seconds=0, least_reports=120, runs=100)))

    assert [one for one in findings if one.outcome is Outcome.FAIL] == []
    assert {one.check for one in findings if one.outcome is Outcome.PASS} >= set(Check) - {Check.SPREAD}
    unfit = {Check.BIAS, Check.COVERAGE, Check.DRAWS, Check.REPEATS}
    assert {one.check for one in findings if one.outcome is Outcome.NOT_RUN} <= unfit


# --- loud


@pytest.mark.parametrize(("metric", "least"), [("late_departure", 1800), ("main_origin", 2600), ("departures", 3600)])
def test_halved_noise_is_found(metric, least):
    """Drawn for 2ε where ε is stated: both the bound and the draws say so, the bound by four standard errors."""
    found = failures(only(metric), effort=reports(least), plans=faults.planted(faults.weaker(0.5)))

    assert {Check.BOUND, Check.DRAWS} <= found


@pytest.mark.parametrize(
    ("metric", "least"), [pytest.param("late_departure", 6000, marks=pytest.mark.slow), ("departures", 1500)]
)
def test_noise_scaled_by_four_fifths_is_found(metric, least):
    """ε is 1.25 times what is stated; the draws pass what chance allows by five standard errors."""
    found = failures(only(metric), effort=reports(least), plans=faults.planted(faults.weaker(0.8)))

    assert Check.DRAWS in found


@pytest.mark.parametrize("epsilon", [0.3, 0.5, 1.0, 2.011])
@pytest.mark.parametrize(
    "mechanism", [faults.NaiveResponse, faults.NaiveKAry, faults.NaiveLaplace], ids=lambda kind: kind.__name__
)
def test_an_epsilon_that_is_off_in_its_last_bits_is_found(mechanism, epsilon):
    """The exact check needs no sample; OpenDP's own map of such odds is above ε too."""
    name = {"NaiveResponse": "late_departure", "NaiveKAry": "main_origin", "NaiveLaplace": "departures"}
    metric = name[mechanism.__name__]
    policy = only(metric)
    honest = plan_metrics(policy)[metric]
    changed = msgspec.structs.replace(honest.metric, epsilon=epsilon)
    fields = faults.fields_of(honest.mechanism) | {"epsilon": epsilon}
    plans = faults.planted(lambda plan: faults.replace(plan, metric=changed, mechanism=mechanism(**fields)))

    assert Check.ODDS in failures(policy, path=None, plans=plans)
    honest_mechanism = type(honest.mechanism)(**fields)
    plans = faults.planted(lambda plan: faults.replace(plan, metric=changed, mechanism=honest_mechanism))
    assert failures(policy, path=None, plans=plans) == set()


def test_a_clamp_after_noise_is_found():
    """The extreme device counts three ranges past its bound, so its reports give it away; certain."""
    found = failures(only("departures"), effort=reports(240), plans=faults.planted(faults.unbounded))

    assert {Check.BOUND, Check.DRAWS} <= found


def test_a_zero_report_skipped_when_inactive_is_found():
    """One device suffices; silence is an output like any other, so the bound sees it too."""
    found = failures(only("late_departure"), path=faults.around(faults.SkipsZero), effort=reports(240))

    assert {Check.PRESENCE, Check.BOUND} <= found


def test_a_memoised_response_drawn_twice_is_found():
    """Drawn again in each of twelve windows it proves more than the one charge."""
    policy = only("late_departure")
    found = failures(policy, path=faults.memoised(redraws=True), effort=reports(1200), plans=MEMOISED)

    assert found == {Check.LIFETIME}


def test_sensitivity_computed_from_data_is_found():
    """The silent device's noise is forty times narrower; certain."""
    change = faults.planted(
        lambda plan: faults.replace(plan, mechanism=faults.SensitivityFromData(**faults.fields_of(plan.mechanism)))
    )

    assert {Check.SPREAD, Check.DRAWS, Check.BOUND} <= failures(only("departures"), effort=reports(600), plans=change)


def test_noise_used_twice_is_found():
    """Every second report repeats the one before, each by itself honest."""
    change = faults.planted(
        lambda plan: faults.replace(plan, mechanism=faults.DrawsEveryOtherTime(plan.metric.epsilon))
    )

    assert Check.REPEATS in failures(only("late_departure"), effort=reports(600), plans=change)


@pytest.mark.parametrize("named", [faults.id_says_value, faults.id_says_device, faults.key_is_kept])
def test_a_report_id_or_receipt_key_that_tells_is_found(named):
    """The noise is honest; what stands beside it is not. Certain."""
    policy = only("late_departure")

    assert failures(policy, path=faults.memoised(named=named), plans=MEMOISED) == {Check.NAMES}


def test_a_public_direction_that_depends_on_the_value_is_found():
    """Its parity agrees with the value's three times in four; outputs are too many for any of them to be seen twice."""
    public = PrivateKey.generate().public_key.encode().hex()
    policy = only("title", build_policy(parsed(policy_text(public, 1.0))))
    change = faults.planted(
        lambda plan: faults.replace(plan, mechanism=faults.DirectionByValue(**faults.fields_of(plan.mechanism)))
    )

    assert failures(policy, effort=reports(600), plans=change) == {Check.DRAWS}


def test_a_ledger_that_looks_at_data_is_found():
    assert Check.LEDGER in failures(only("late_departure"), path=faults.around(faults.ChargesTheActive))


def test_an_envelope_that_nobody_can_open_is_found():
    found = failures(only("late_departure"), path=faults.around(faults.SealsToNobody))

    assert {Check.PRESENCE, Check.DRAWS} <= found


def test_a_report_sealed_again_is_found():
    assert failures(only("late_departure"), path=faults.seals_again) == {Check.RESEND}


def test_noise_stronger_than_declared_is_no_bargain():
    """Privacy is kept, but figures are worse than what the ledger pays for: the charge says so."""
    change = faults.planted(lambda plan: faults.replace(plan, mechanism=RandomizedResponse(0.5)))

    assert failures(only("late_departure"), path=None, plans=change) == {Check.CHARGE}


def test_a_biased_estimator_is_found():
    """Shares that were clipped to [0, 1], where nobody holds the rare one."""

    class Clips(RandomizedResponse):
        def estimate(self, sums):
            return tuple(min(max(share, 0.0), 1.0) for share in super().estimate(sums))

    change = faults.planted(lambda plan: faults.replace(plan, mechanism=Clips(1.0)))
    effort = Effort(seconds=0, runs=1000)

    assert Check.BIAS in failures(only("late_departure"), path=None, plans=change, effort=effort)


def test_an_interval_that_is_too_narrow_is_found():
    class Narrow(RandomizedResponse):
        def interval(self, sums, level):
            return super().interval(sums, level - 0.15)

    change = faults.planted(lambda plan: faults.replace(plan, mechanism=Narrow(1.0)))
    effort = Effort(seconds=0, runs=2000)

    assert failures(only("late_departure"), path=None, plans=change, effort=effort) == {Check.COVERAGE}


def test_every_check_says_what_its_failure_means_and_what_to_do():
    assert set(MEANINGS) == set(Check)
    assert all(text.endswith(".") for texts in MEANINGS.values() for text in texts)


# --- the two neighbours


@pytest.mark.parametrize(
    ("reduction", "kind", "bounds", "where"),
    [
        ("count", "count", [3, 40], ""),
        ("active_days", "count", [0, 28], ""),
        ("{sum: delay}", "mean", [-500, 2000], ""),
        ("{min: delay}", "mean", [-60, 60], ""),
        ("{mean: delay}", "mean", [0, 60], 'where: {">": [{var: delay}, 5]}'),
    ],
    ids=["count", "active_days", "sum", "min", "mean where"],
)
def test_neighbours_reach_both_bounds(reduction, kind, bounds, where):
    """Whatever the reduction, from the policy alone; and the device agrees, or the draws would differ."""
    before = "per_device: count\n    type: count\n    bounds: [0, 40]"
    after = f"per_device: {reduction}\n    type: {kind}\n    bounds: {bounds}\n    {where}"
    policy = only("departures", built((before, after)))
    [plan] = plan_metrics(policy).values()
    pair = neighbours(plan, policy.signals["flight.departed"])

    assert [pair.low.value, pair.high.value] == bounds
    assert failures(policy, effort=reports(240)) == set()


# --- the bound and the draws themselves, from seeded samples


def samples(mechanism, value, count, seed):
    return odds_of_value(mechanism, value).draw(np.random.default_rng(seed), count)


@pytest.mark.parametrize(("count", "expected"), [(20_000, 0.94), (200_000, 0.978)])
def test_the_bound_is_as_sharp_as_samples_allow(count, expected):
    """For a true ε of 1, 95% sure, so many reports of each neighbour."""
    mechanism = RandomizedResponse(1.0)
    bounds = [
        lower_bound(samples(mechanism, 0, count, seed), samples(mechanism, 1, count, seed + 100), 0.05)
        for seed in range(5)
    ]

    assert np.mean([bound.epsilon for bound in bounds]) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("mechanism", "values"),
    [
        (RandomizedResponse(1.0), (0, 1)),
        (KAryResponse(0.5, tuple("abcd")), (3, 0)),
        (DiscreteLaplace(1.0, 0, 7), (0, 7)),
    ],
    ids=["rr-1", "krr-1", "dlap-1"],
)
def test_the_bound_is_too_high_as_seldom_as_it_says(mechanism, values):
    """At 80% it may pass ε in 20 of 100; 400 seeded repetitions give fewer than 27 of 100."""
    declared = tuple(odds_of_value(mechanism, value) for value in values)
    too_high = 0
    for seed in range(400):
        low, high = (samples(mechanism, value, 600, 1000 * seed + place) for place, value in enumerate(values))
        too_high += lower_bound(low, high, 0.2, declared).epsilon > mechanism.epsilon

    assert too_high <= 0.27 * 400


def test_honest_draws_fit_and_others_do_not():
    """Seeded; 2,000 draws of a scale that is 0.7 of the stated one are found."""
    stated, weak = DiscreteLaplace(1.0, 0, 40), DiscreteLaplace(1 / 0.7, 0, 40)
    odds = odds_of_value(stated, 0)

    honest, false = samples(stated, 0, 2000, 1), samples(weak, 0, 2000, 2)
    assert gap(honest, odds, 1e-8).holds
    assert lanes(honest, odds, 1e-8).holds
    assert surprise([(honest, odds)], 1e-8).holds
    assert not gap(samples(weak, 0, 8000, 2), odds, 1e-8).holds
    assert not surprise([(false, odds)], 1e-8).holds
    assert not surprise([(np.array([10**6] + [0] * 99), odds)], 1e-8).holds


def test_surprise_is_as_seldom_too_large_as_it_says():
    """At 20% a side; of 400 seeded repetitions fewer than 15 in 100 pass it, since Chernoff is generous."""
    odds = odds_of_value(DiscreteLaplace(1.0, 0, 7), 3)
    drawn = [odds.draw(np.random.default_rng(seed), 300) for seed in range(400)]
    passed = sum(not surprise([(one, odds)], 0.4).holds for one in drawn)

    assert 1 <= passed <= 0.15 * 400


def test_odds_for_simulation_are_the_exact_odds():
    for mechanism in (RandomizedResponse(1.0), KAryResponse(2.0, tuple("abc")), DiscreteLaplace(4.0, -1, 2)):
        row = odds_of_value(mechanism, 1)
        exact = [float(mechanism.probability(1, noised)) for noised in mechanism.outputs()]
        assert row.probability == pytest.approx(exact, rel=1e-9)
        assert math.fsum(row.probability) == pytest.approx(1, abs=1e-9)


def test_agreement_and_width_are_judged_by_their_odds():
    odds = odds_of_value(DiscreteLaplace(1.0, 0, 40), 0)
    drawn = samples(DiscreteLaplace(1.0, 0, 40), 0, 4000, 3)
    value, needed = rarest_agreement(drawn.reshape(-1, 2), odds, 1e-8)
    assert value >= needed
    value, needed = rarest_agreement(np.stack([drawn, drawn], axis=1), odds, 1e-8)
    assert value < needed

    apart, allowed = widths(drawn[:2000], drawn[2000:] + 5, (0, 5), 1e-8)
    assert apart <= allowed
    apart, allowed = widths(drawn[:2000], drawn[2000:] // 4, (0, 0), 1e-8)
    assert apart > allowed


# --- every mechanism, whether or not the policy language has it yet

MECHANISMS = [
    build("rr-1", 1.0, (), (0, 1)),
    build("krr-1", 2.0, tuple("abcdefg"), (0, 1)),
    build("sss-1", 1.0, tuple("abcdefgh"), (0, 1)),
    build("llh-1", 1.0, tuple(f"c{i}" for i in range(100)), (0, 1)),
    build("dbit-1", 1.0, (), (-20, 40)),
    build("dlev-1", 2.0, (), (0, 40)),
    build("dmix-1", 1.1, (), (0, 40)),
    build("dlap-1", 1.0, (), (0, 40)),
    build("lgrr-1", 2.0, tuple("abc"), (0, 1), draws=2),
    build("msel-krr-1", 1.0, tuple("abcd"), (0, 1), at_most=2),
    build("msel-llh-1", 1.0, tuple(f"c{i}" for i in range(300)), (0, 1), at_most=5),
]


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda one: one.id)
def test_every_mechanism_passes_without_a_device(mechanism):
    """Exact odds, charge, bias and coverage; seeded."""
    metric = msgspec.structs.replace(ALL.metrics["departures"], epsilon=mechanism.epsilon)
    change = faults.planted(lambda plan: faults.replace(plan, metric=metric, mechanism=mechanism))
    findings = list(audit_policy(only("departures"), None, Effort(runs=400), plans=change))

    assert [one for one in findings if one.outcome is not Outcome.PASS] == []


@pytest.mark.parametrize("mechanism", ["dbit-1", "dlev-1"])
def test_dithered_mechanisms_pass_on_the_device_path(mechanism):
    change = faults.planted(
        lambda plan: faults.replace(plan, mechanism=build(mechanism, 1.0, (), (plan.low, plan.high)))
    )

    assert failures(only("departures"), effort=reports(600), plans=change) == set()
