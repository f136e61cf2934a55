"""What a memoised response reveals over many windows, and why a new value must not draw a new one."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from discreet_contract.accounting import to_nano
from discreet_contract.mechanisms.memoised import MemoisedResponse

LABELS = ("a", "b", "c")


def instantaneous(mechanism, permanent, report):
    p = Fraction(mechanism.instantaneous_odds.own)
    return p if report == permanent else (1 - p) / (len(mechanism.labels) - 1)


def chance(mechanism, value, reports):
    """Exact probability of this series of reports by a device whose value stays."""
    return sum(
        mechanism.permanent_probability(value, permanent)
        * math.prod(instantaneous(mechanism, permanent, report) for report in reports)
        for permanent in mechanism.domain()
    )


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0])
def test_windows_together_reveal_no_more_than_the_permanent_response(epsilon):
    """All series of four windows: they sum to one, the worst ratio grows with their number and stays below e^ε."""
    mechanism = MemoisedResponse(epsilon, LABELS)
    worst = []
    for windows in (1, 2, 4):
        rows = [[chance(mechanism, v, reports) for reports in product(range(3), repeat=windows)] for v in range(3)]
        assert all(sum(row) == 1 for row in rows)
        worst.append(max(max(column) / min(column) for column in zip(*rows, strict=True)))

    assert math.log(worst[0]) == pytest.approx(epsilon / 2, abs=1e-9)
    assert worst[0] < worst[1] < worst[2]
    p, q = mechanism.permanent_probability(0, 0), mechanism.permanent_probability(0, 1)
    assert worst[2] < p / q
    assert epsilon - 1e-9 < math.log(p / q) < epsilon


def test_drawing_anew_for_a_new_value_would_reveal_more_than_is_said_of_it():
    """Two values in turn, each with a response of its own, against one value: past 2·ε after 22 windows, without end.

    So permanent responses are drawn at dates that the policy fixes.
    """
    mechanism = MemoisedResponse(1.0, ("a", "b"))
    losses = []
    for windows in (2, 22, 60):
        half = windows // 2
        changing = chance(mechanism, 0, [0] * half) * chance(mechanism, 1, [1] * half)
        staying = chance(mechanism, 0, [0] * half + [1] * half)
        losses.append(math.log(changing / staying))

    assert losses[0] < 2 < losses[1] < losses[2]


@pytest.mark.parametrize("draws", [1, 2, 3, 7])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.1, 4.0])
def test_a_lifetime_is_charged_whole(epsilon, draws):
    """As many times what OpenDP's map says of one permanent response as may be drawn, never above ε."""
    mechanism = MemoisedResponse(epsilon, LABELS, draws)
    p, q = mechanism.permanent_probability(0, 0), mechanism.permanent_probability(0, 1)

    lost = draws * math.log(p / q)
    assert to_nano(epsilon) - 1000 <= mechanism.charge() <= to_nano(epsilon)
    assert lost * 1e9 - 1 <= mechanism.charge() <= lost * 1e9 + 2
    assert math.log(mechanism.probability(0, 0) / mechanism.probability(0, 1)) <= epsilon / draws / 2 + 1e-12


def test_the_parts_of_the_variance_are_its_sum_and_their_own():
    """Where values stay, the variance of a mean over windows keeps the permanent part (seeded; 5 standard errors)."""
    mechanism = MemoisedResponse(2.0, LABELS)
    devices, windows, runs, rng = 200, 6, 20_000, np.random.default_rng(20_261_123)
    first, second = mechanism.permanent_odds, mechanism.instantaneous_odds
    holders = 60
    named = rng.binomial(holders, first.own, runs) + rng.binomial(devices - holders, first.other, runs)
    counts = rng.binomial(named, second.own, (windows, runs)) + rng.binomial(
        devices - named, second.other, (windows, runs)
    )
    estimates = (counts / devices - mechanism.support.other) / mechanism.support.gap
    expected = [devices, *(devices * (mechanism.support.other + s * mechanism.support.gap) for s in (0.3, 0.2, 0.5))]
    parts = mechanism.variance_parts(expected)[0]

    assert parts.permanent + parts.instantaneous == pytest.approx(mechanism.variance(expected)[0])
    tolerance = 5 * math.sqrt(2 / runs)  # of a variance of near-normal figures
    assert estimates[0].var() == pytest.approx(parts.permanent + parts.instantaneous, rel=tolerance)
    assert estimates.mean(axis=0).var() == pytest.approx(parts.permanent + parts.instantaneous / windows, rel=tolerance)


def test_the_two_steps_draw_by_their_odds():
    """Hoeffding over 3,000 draws each: false alarm below 1e-8."""
    mechanism = MemoisedResponse(4.0, LABELS)
    tolerance = math.sqrt(math.log(2e8) / 6000)
    permanent = np.mean([mechanism.permanent(2) == 2 for _ in range(3000)])
    instantaneous_share = np.mean([mechanism.randomize_permanent(1) == b"\x01" for _ in range(3000)])

    assert permanent == pytest.approx(mechanism.permanent_odds.own, abs=tolerance)
    assert instantaneous_share == pytest.approx(mechanism.instantaneous_odds.own, abs=tolerance)
    assert mechanism.permanent_odds.own - mechanism.instantaneous_odds.own > 2 * tolerance
    for illegal in (-1, 3, 1.0, None, True):
        with pytest.raises(ValueError, match=r"^lgrr-1 randomises "):
            mechanism.permanent(illegal)
        with pytest.raises(ValueError, match=r"^lgrr-1 randomises "):
            mechanism.randomize_permanent(illegal)
