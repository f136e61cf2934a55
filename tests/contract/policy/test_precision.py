"""What `discreet policy plan` foretells is what estimates turn out to be."""

import math

import msgspec
import numpy as np
import pytest

from discreet_contract.policy.compile import load_policy
from discreet_contract.policy.plan import plan_metrics
from discreet_contract.policy.precision import MOST_DEVICES, devices_needed, expect, interval_width, smallest_effect
from policies import FLIGHTS, MEDIA

POLICY = load_policy(FLIGHTS)
PLANS = plan_metrics(POLICY)


def test_a_share_at_epsilon_one():
    """By hand: 2·1.96·√(0.92/n), and (1.96 + 0.84)·√(2·(0.92 + 0.25)/(n/2))."""
    [late, _, _] = expect(POLICY, 10_000)

    assert late.width == pytest.approx(2 * 1.96 * math.sqrt(0.9207 / 10_000), rel=1e-3)
    assert late.effect == pytest.approx(2.8016 * math.sqrt(2 * (0.9207 + 0.25) / 5_000), rel=1e-3)


def test_display_units_and_grid_scale_widths():
    """Seconds on a grid of 60, shown in minutes: one step is one minute."""
    [minutes, *_] = expect(load_policy(MEDIA), 100_000)
    mechanism = plan_metrics(load_policy(MEDIA))["minutes"].mechanism

    assert minutes.unit == "min"
    assert minutes.width == pytest.approx(2 * 1.96 * mechanism.expected_error(100_000), rel=1e-4)


def test_metrics_that_take_turns_share_the_fleet():
    expected = {one.metric: one for one in expect(load_policy(MEDIA), 30_000)}

    assert expected["minutes"].devices == 30_000
    assert expected["evening"].devices == expected["main_genre"].devices == 15_000
    assert not expected["evening"].is_withheld
    assert expect(load_policy(MEDIA), 12_000)[3].is_withheld


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("width", [0.01, 0.3, 7.0])
def test_devices_needed_is_the_reverse(name, width):
    """At so many the interval is narrow enough, at one fewer it is not, or nothing would be shown."""
    needed, plan = devices_needed(POLICY, width)[name], PLANS[name]

    assert interval_width(plan, needed) <= width
    assert needed == plan.metric.min_devices or interval_width(plan, needed - 1) > width


def test_a_width_that_no_fleet_reaches_is_said():
    assert set(devices_needed(POLICY, 1e-9).values()) == {None}
    assert interval_width(PLANS["late_departure"], MOST_DEVICES) > 1e-9


def test_precision_rises_with_devices_and_epsilon():
    few, many = expect(POLICY, 1000), expect(POLICY, 4000)
    assert all(b.width == pytest.approx(a.width / 2) and b.effect < a.effect for a, b in zip(few, many, strict=True))
    changed = {name: msgspec.structs.replace(metric, epsilon=2.0) for name, metric in POLICY.metrics.items()}
    sharper = expect(msgspec.structs.replace(POLICY, metrics=changed), 1000)
    assert all(b.width < a.width and b.effect < a.effect for a, b in zip(few, sharper, strict=True))


def test_fewer_than_two_devices_find_nothing():
    assert smallest_effect(PLANS["departures"], 1) == math.inf


def test_the_smallest_effect_is_found_eight_times_in_ten():
    """Simulated, seeded: arms at worst-case shares that lie the effect apart; 20,000 repetitions, ± 3 points."""
    plan, devices, runs = PLANS["late_departure"], 20_000, 20_000
    effect, arm = smallest_effect(plan, devices), devices // 2
    rng, p = np.random.default_rng(4), plan.mechanism.truth
    estimates = []
    for share in (0.5 - effect / 2, 0.5 + effect / 2):
        yes = rng.binomial(arm, share * p + (1 - share) * (1 - p), runs)
        estimates.append((yes / arm - (1 - p)) / (2 * p - 1))
    error = math.sqrt(2 * (plan.mechanism.expected_error(arm) ** 2 + 0.25 / arm))

    assert np.mean(estimates[1] - estimates[0] > 1.96 * error) == pytest.approx(0.8, abs=0.03)
