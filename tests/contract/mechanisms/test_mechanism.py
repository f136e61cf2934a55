"""What the mechanisms share: dyadic odds, normal quantiles, intervals that grow with their level."""

from fractions import Fraction

import pytest

from discreet_contract.mechanisms.discrete_laplace import DiscreteLaplace
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.mechanism import round_down, z_score
from discreet_contract.mechanisms.randomized_response import RandomizedResponse

MECHANISMS = [RandomizedResponse(1.0), KAryResponse(1.0, ("a", "b", "c")), DiscreteLaplace(1.0, 0, 9)]
SUMS = {"rr-1": [200, 90], "krr-1": [200, 90, 60, 50], "dlap-1": [200, 640]}


@pytest.mark.parametrize("probability", [0.1, 0.5, 2 / 3, 0.7310585786300049, 1.0])
def test_odds_are_rounded_down_to_a_dyadic_number(probability):
    """The same number on every machine, always a hair less sharp than asked for."""
    rounded = Fraction(round_down(probability))

    assert (rounded * 2**40).denominator == 1
    assert 0 < Fraction(probability) - rounded < Fraction(1, 2**40) * (1 + Fraction(1, 2**9))


@pytest.mark.parametrize(("level", "z"), [(0.5, 0.674490), (0.9, 1.644854), (0.95, 1.959964), (0.99, 2.575829)])
def test_half_widths_are_normal(level, z):
    """As in any table."""
    assert z_score(level) == pytest.approx(z, abs=1e-6)


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: m.id)
def test_an_interval_lies_around_its_estimate_and_grows_with_its_level(mechanism):
    """One interval a label, nested."""
    sums = SUMS[mechanism.id]
    estimates = mechanism.estimate(sums)
    nested = [mechanism.interval(sums, level) for level in (0.99, 0.95, 0.8)]

    assert len(mechanism.labels) == len(estimates) == len(mechanism.variance(sums)) == len(nested[0])
    for estimate, wide, middle, narrow in zip(estimates, *nested, strict=True):
        assert wide.low < middle.low < narrow.low < estimate < narrow.high < middle.high < wide.high


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: m.id)
def test_an_estimate_is_never_clipped(mechanism):
    """A share below zero stays below zero: clipping is the reader's named choice."""
    empty = [50, *[0] * (len(SUMS[mechanism.id]) - 1)] if mechanism.id != "dlap-1" else [50, -500]

    assert mechanism.estimate(empty)[0] < 0


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: m.id)
def test_four_times_the_devices_halve_the_error(mechanism):
    """The worst case over true values bounds every estimate's own variance."""
    sums = SUMS[mechanism.id]

    assert mechanism.expected_error(4000) == pytest.approx(mechanism.expected_error(1000) / 2)
    assert all(v <= mechanism.expected_error(sums[0]) ** 2 * (1 + 1e-9) for v in mechanism.variance(sums))
