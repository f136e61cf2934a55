"""The numbers that the threat model gives for lying devices."""

import random
import statistics

import numpy as np
import pytest

from discreet_contract.mechanisms.mechanism import odds_of
from discreet_contract.mechanisms.randomized_response import RandomizedResponse
from documents import reference


def test_one_report_cannot_be_worth_more_than_is_said():
    """No legal payload adds more to the sum of estimates than the table's second column."""
    for name, mechanism, largest, _ in reference().extreme_reports():
        if name.startswith("`dlap-1`"):
            worth = [mechanism.low - mechanism.reach, mechanism.high + mechanism.reach]
        else:
            drawn = mechanism.outputs()
            some = drawn if len(drawn) < 3000 else drawn[:: len(drawn) // 3000]
            worth = [max(mechanism.estimate(mechanism.accumulate([noised]))) for noised in some]
        assert max(worth) == pytest.approx(largest), name


@pytest.mark.parametrize("malicious", [100, 1000])
def test_simulated_liars_shift_a_share_as_far_as_the_table_says(malicious):
    """Mean of 40 simulated fleets, 20% of 10,000 honest devices say yes; six standard errors: 2e-9 false alarms."""
    mechanism, honest, runs = RandomizedResponse(1.0), 10_000, 40
    chance = random.Random(7)  # noqa: S311 - a simulation of other people's noise, repeatable

    def estimate():
        truths = [i < honest // 5 for i in range(honest)]
        ones = sum(truth == (chance.random() < mechanism.truth) for truth in truths)
        return mechanism.estimate([honest + malicious, ones + malicious])[0]

    largest = next(reference().extreme_reports())[2]
    shift = reference().shift_of(malicious, honest, largest, 1.0)
    expected = 0.2 * honest / (honest + malicious) + shift
    tolerance = 6 * mechanism.expected_error(honest) / runs**0.5
    assert statistics.fmean(estimate() for _ in range(runs)) == pytest.approx(expected, abs=tolerance)


def simulated():
    """Rows whose honest reports can be drawn from exact odds."""
    return [pytest.param(*row[1:3], id=row[0]) for row in reference().extreme_reports() if "dlap" not in row[0]]


@pytest.mark.parametrize(("mechanism", "largest"), simulated())
def test_simulated_liars_shift_every_estimate_as_far_as_the_table_says(mechanism, largest):
    """Mean of 40 fleets of 10,000 honest devices whose truth is 0, and 100 liars; six standard errors: 2e-9 a row."""
    honest, malicious, runs = 10_000, 100, 40
    is_category = len(mechanism.labels) > 1 and not mechanism.id.startswith("msel")
    value = 1 if is_category else next(iter(mechanism.domain()))
    odds = [float(one) for one in odds_of(mechanism, value).values()]
    worth = [mechanism.estimate(mechanism.accumulate([noised]).tolist())[0] for noised in mechanism.outputs()]
    lie, rng = int(np.argmax(worth)), np.random.default_rng(11)

    def estimate():
        drawn = rng.multinomial(honest, odds)
        drawn[lie] += malicious
        return mechanism.estimate(mechanism.accumulate(np.repeat(np.arange(len(drawn)), drawn)).tolist())[0]

    expected = reference().shift_of(malicious, honest, largest, 1.0)
    tolerance = 6 * mechanism.expected_error(honest) / runs**0.5
    assert statistics.fmean(estimate() for _ in range(runs)) == pytest.approx(expected, abs=tolerance)
