"""Exact privacy: what the odds say, in exact arithmetic, is what is promised and what is charged.

No sampling, but for the last part: there OpenDP's own draws are compared with the odds. OpenDP
cannot be seeded, so each tolerance states its false-alarm odds.
"""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from discreet_contract.accounting import NANO, cap_to_nano, to_nano
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.mechanisms.catalogue import FITTING, build
from discreet_contract.mechanisms.discrete_laplace import MAX_RANGE, DiscreteLaplace
from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.randomized_response import RandomizedResponse

EPSILONS = [0.1, 0.134, 0.3, 0.5, 0.7, 1.0, 1.068, 1.5, 2.0, 2.011, 3.0, 4.0, 6.0, 8.0]
FINE_EPSILONS = [n / 20 for n in range(2, 161)]  # 0.1, 0.15, … 8
CATEGORIES = [2, 3, 4, 17, 256, 257, 1001]
RANGES = [(0, 1), (0, 7), (0, 40), (-120, 1440), (0, 86_400), (-(2**20), 2**20)]
DIGITS = 60
ROUNDING = Decimal("1e-50")  # of sixty-digit arithmetic


def labels(k):
    return tuple(f"c{i}" for i in range(k))


def loss(ratio):
    """ln of an exact ratio, to sixty digits."""
    with localcontext(prec=DIGITS):
        return (Decimal(ratio.numerator) / Decimal(ratio.denominator)).ln()


def promised(epsilon):
    return Decimal(epsilon)  # the exact value of the float


def exact_krr(mechanism):
    """(p, q) as OpenDP draws them: the dyadic p, and the rest in equal parts."""
    p = Fraction(mechanism.truth)
    return p, (1 - p) / (mechanism.categories - 1)


# --- odds


@pytest.mark.parametrize("epsilon", FINE_EPSILONS)
def test_rr_loses_at_most_epsilon(epsilon):
    """Rows sum to one exactly; the largest ratio in a column is at most e^ε, and hardly less."""
    rows = [[Fraction(cell) for cell in row] for row in RandomizedResponse(epsilon).odds()]

    assert [sum(row) for row in rows] == [1, 1]
    worst = max(loss(rows[i][j] / rows[1 - i][j]) for i in (0, 1) for j in (0, 1))
    assert worst <= promised(epsilon)
    assert worst > promised(epsilon) - Decimal("1e-7")


@pytest.mark.parametrize("k", [2, 3, 4, 17])
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_krr_loses_at_most_epsilon(epsilon, k):
    """The table: rows sum to one, columns differ by at most e^ε."""
    mechanism = KAryResponse(epsilon, labels(k))
    table = mechanism.odds()

    assert all(math.isclose(math.fsum(row), 1, abs_tol=1e-15) for row in table)
    for j in range(k):
        column = [Fraction(table[i][j]) for i in range(k)]
        assert loss(max(column) / min(column)) <= promised(epsilon) + Decimal("1e-15")  # q as a float is rounded
    p, q = exact_krr(mechanism)
    assert loss(p / q) <= promised(epsilon)


@pytest.mark.parametrize("k", CATEGORIES)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_krr_wastes_hardly_anything_of_epsilon(epsilon, k):
    """Rounding the odds costs less than a millionth, for many categories as well."""
    p, q = exact_krr(KAryResponse(epsilon, labels(k)))

    assert p + (k - 1) * q == 1
    assert promised(epsilon) - Decimal("1e-6") < loss(p / q) <= promised(epsilon)


def clamped_odds(mechanism, value, payloads):
    """Exact-enough probability of each payload: P(x) = (1−a)/(1+a)·a^|x|, the tails gathered at both ends."""
    with localcontext(prec=DIGITS):
        a = (-1 / Decimal(mechanism.scale)).exp()
        ends = {mechanism.low - mechanism.reach, mechanism.high + mechanism.reach}
        return [
            a ** abs(y - value) / (1 + a) if y in ends else (1 - a) / (1 + a) * a ** abs(y - value) for y in payloads
        ]


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_dlap_loses_at_most_epsilon(epsilon, bounds):
    """For every pair of values the ratio is at most e^ε, at the ends where payloads are clamped too."""
    mechanism = DiscreteLaplace(epsilon, *bounds)
    low, high, reach = mechanism.low, mechanism.high, mechanism.reach
    middle = (low + high) // 2
    payloads = [low - reach, low - reach + 1, low - 1, low, middle, high, high + 1, high + reach - 1, high + reach]
    odds = {value: clamped_odds(mechanism, value, payloads) for value in {low, low + 1, middle, high - 1, high}}

    with localcontext(prec=DIGITS):
        worst = max((x / y).ln() for a in odds.values() for b in odds.values() for x, y in zip(a, b, strict=True))
        assert worst - promised(epsilon) <= ROUNDING
    assert worst > promised(epsilon) * (1 - Decimal(2) ** -16)  # the scale's grid, at range 1 and ε = 8


@pytest.mark.parametrize("bounds", [(0, 1), (-3, 4)])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0])
def test_dlap_odds_over_the_whole_range_sum_to_one(epsilon, bounds):
    """Every legal payload, none left out."""
    mechanism = DiscreteLaplace(epsilon, *bounds)
    legal = range(mechanism.low - mechanism.reach, mechanism.high + mechanism.reach + 1)

    for value in range(mechanism.low, mechanism.high + 1):
        with localcontext(prec=DIGITS):
            assert abs(sum(clamped_odds(mechanism, value, legal)) - 1) < ROUNDING


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_dlap_is_clamped_where_nobody_notices(epsilon, bounds):
    """Beyond the reach lies less than 1e-12 of the probability: clamping moves no mean by a measurable amount."""
    mechanism = DiscreteLaplace(epsilon, *bounds)
    [tail] = clamped_odds(mechanism, mechanism.high, [mechanism.high + mechanism.reach])

    assert tail < Decimal("1e-12")


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_every_payload_of_the_widest_range_fits_four_bytes(epsilon):
    """What the policy language allows at the most, range / ε = MAX_RANGE around half of the format."""
    width = int(MAX_RANGE * epsilon)
    for low in (-(2**30), 2**30 - width):
        mechanism = DiscreteLaplace(epsilon, low, low + width)
        assert low - mechanism.reach >= -(2**31)
        assert low + width + mechanism.reach < 2**31


# --- charges


@pytest.mark.parametrize("epsilon", FINE_EPSILONS)
def test_rr_charges_what_it_loses(epsilon):
    """OpenDP's map, rounded up to a nano-ε: not less than the loss, not more than declared."""
    mechanism = RandomizedResponse(epsilon)
    p = Fraction(mechanism.truth)

    assert_charged(mechanism, loss(p / (1 - p)))


@pytest.mark.parametrize("k", CATEGORIES)
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_krr_charges_what_it_loses(epsilon, k):
    """The same for any number of categories."""
    mechanism = KAryResponse(epsilon, labels(k))
    p, q = exact_krr(mechanism)

    assert_charged(mechanism, loss(p / q))


@pytest.mark.parametrize("bounds", RANGES)
@pytest.mark.parametrize("epsilon", sorted({*FINE_EPSILONS, *EPSILONS}))
def test_dlap_charges_what_it_loses(epsilon, bounds):
    """The same for a range: two values lie at most high − low apart."""
    mechanism = DiscreteLaplace(epsilon, *bounds)

    with localcontext(prec=DIGITS):
        assert_charged(mechanism, Decimal(bounds[1] - bounds[0]) / Decimal(mechanism.scale))


def assert_charged(mechanism, exact_loss):
    charge = mechanism.charge()
    assert charge <= to_nano(mechanism.epsilon) == cap_to_nano(mechanism.epsilon)
    assert exact_loss * NANO <= charge <= exact_loss * NANO + 1 + Decimal("1e-6")


# --- estimates


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.25, 0.5, 1.0])
def test_rr_estimate_of_the_expected_counts_is_the_truth(epsilon, share):
    """Unbiased, without sampling."""
    mechanism = RandomizedResponse(epsilon)
    (_, wrong), (_, right) = mechanism.odds()

    [estimate] = mechanism.estimate([1, share * right + (1 - share) * wrong])
    assert estimate == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("epsilon", EPSILONS)
@pytest.mark.parametrize("shares", [(1, 0), (0.5, 0.3, 0.2), (0, 0, 1), (0.9, 0.1, 0, 0), (1, *[0] * 16)])
def test_krr_estimate_of_the_expected_counts_is_the_truth(epsilon, shares):
    """Every category, the empty ones as well; the estimates sum to one."""
    mechanism = KAryResponse(epsilon, labels(len(shares)))
    counts = np.array(shares) @ np.array(mechanism.odds())

    estimate = mechanism.estimate([1, *counts])
    assert estimate == pytest.approx(shares, abs=1e-12)
    assert math.fsum(estimate) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("value", [-3, 0, 4])
def test_dlap_estimate_of_the_expected_sum_is_the_truth(epsilon, value):
    """The noise is symmetric, and its clamped ends hold next to nothing."""
    mechanism = DiscreteLaplace(epsilon, -3, 4)
    legal = range(mechanism.low - mechanism.reach, mechanism.high + mechanism.reach + 1)
    expected = sum(y * p for y, p in zip(legal, clamped_odds(mechanism, value, legal), strict=True))

    [estimate] = mechanism.estimate([1, float(expected)])
    assert estimate == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_variance_is_that_of_the_odds(epsilon):
    """Computed from the table, cell by cell, for one device of each kind."""
    rr = RandomizedResponse(epsilon)
    variances = [
        sum(p * rr.estimate([1, y])[0] ** 2 for y, p in enumerate(row)) - i**2 for i, row in enumerate(rr.odds())
    ]
    assert variances == pytest.approx([rr.expected_error(1) ** 2] * 2)

    krr = KAryResponse(epsilon, labels(5))
    for true, row in enumerate(krr.odds()):
        estimates = [krr.estimate([1, *(int(y == j) for j in range(5))])[0] for y in range(5)]
        mean, square = (sum(p * e**m for p, e in zip(row, estimates, strict=True)) for m in (1, 2))
        assert mean == pytest.approx(float(true == 0), abs=1e-12)
        assert square - mean**2 == pytest.approx(krr.variance([1, *row])[0], rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 4.0])
def test_dlap_variance_is_that_of_the_odds(epsilon):
    """Summed over every legal payload."""
    mechanism = DiscreteLaplace(epsilon, 0, 3)
    legal = range(-mechanism.reach, 3 + mechanism.reach + 1)
    variance = sum(y * y * p for y, p in zip(legal, clamped_odds(mechanism, 0, legal), strict=True))

    assert float(variance) == pytest.approx(mechanism.variance([1, 0])[0], rel=1e-9)


# --- values and payloads


RR = RandomizedResponse(1.0)
KRR = KAryResponse(1.0, labels(4))
WIDE_KRR = KAryResponse(1.0, labels(300))  # two-byte payloads
DLAP = DiscreteLaplace(1.0, -2, 7)

OUTSIDE = {
    RR: [-1, 2, 0.5, None, "1"],
    KRR: [-1, 4, 1.5, None, "1"],
    WIDE_KRR: [-1, 300, 1.5],
    DLAP: [-3, 8, 10**9, 10**30, 1.5, math.nan, None, "1"],
}
ILLEGAL = {
    RR: ["", "02", "ff", "0000", "0101", "30"],
    KRR: ["", "04", "ff", "0000", "0001"],
    WIDE_KRR: ["", "01", "012c", "ffff", "000000"],
    DLAP: ["", "00", "000000", "0000000000", "7fffffff", "80000000", "00000101", "fffffefe"],  # 7 + 250, −2 − 250
}


def name_of(mechanism):
    return f"{mechanism.id}, {mechanism.payload_bytes} bytes"


def cases(table):
    return [pytest.param(m, item, id=f"{name_of(m)}: {item!r}") for m, items in table.items() for item in items]


@pytest.mark.parametrize("mechanism", OUTSIDE, ids=name_of)
def test_a_drawn_payload_is_legal_and_has_its_length(mechanism):
    """Whatever was drawn can be decoded."""
    low, high = (mechanism.low, mechanism.high) if mechanism.id == "dlap-1" else (0, max(len(mechanism.labels), 2) - 1)
    for value in (low, high):
        payload = mechanism.randomize(value)
        assert len(payload) == mechanism.payload_bytes
        assert isinstance(mechanism.decode(payload), int)


@pytest.mark.parametrize(("mechanism", "value"), cases(OUTSIDE))
def test_a_value_outside_the_domain_is_refused(mechanism, value):
    """OpenDP would answer something, or warn and quote the value: nothing is drawn, no warning, no value (P1)."""
    with pytest.raises(ValueError, match=rf"^{mechanism.id} randomises [^0-9]*$"):
        mechanism.randomize(value)


@pytest.mark.parametrize(("mechanism", "payload"), cases(ILLEGAL))
def test_a_payload_no_honest_draw_gives_is_refused(mechanism, payload):
    """A forger shifts a sum by no more than an honest device could."""
    with pytest.raises(IllegalPayloadError, match=f"{mechanism.id} payload is "):
        mechanism.decode(bytes.fromhex(payload))


def test_the_last_legal_payload_is_decoded():
    """Both ends of the reach: scale 9, reach ceil(9·ln 1e12) = 249."""
    mechanism = DiscreteLaplace(1.0, -2, 7)

    assert mechanism.reach == 249
    for end in (-2 - 249, 7 + 249):
        assert mechanism.decode(end.to_bytes(4, "big", signed=True)) == end


@pytest.mark.parametrize("mechanism", OUTSIDE, ids=name_of)
def test_sums_merge_by_addition(mechanism):
    """Any number of workers, any order."""
    noised = [mechanism.decode(mechanism.randomize(value)) for value in [0, 1, 1, 0, 1, 0, 0]]
    whole = mechanism.accumulate(noised)
    parts = mechanism.accumulate(noised[4:]) + mechanism.accumulate(noised[:4]) + mechanism.accumulate([])

    assert whole.dtype == np.int64
    assert whole[0] == 7
    assert (whole == parts).all()


def test_every_fitting_mechanism_can_be_built():
    """And nobody builds one that was never declared."""
    for ids in FITTING.values():
        for mechanism_id in ids:
            assert build(mechanism_id, 1.0, labels(3), (0, 5)).id == mechanism_id
    with pytest.raises(KeyError):
        build("rr-0", 1.0, (), (0, 1))


# --- OpenDP's draws against the odds

DRAWS = 3000
FALSE_ALARM = 1e-7  # of one comparison; fewer than ten of them: at most 1e-6 for all
# Dvoretzky–Kiefer–Wolfowitz (Massart): P(sup |F̂ − F| > t) ≤ 2·exp(−2·n·t²), whatever the distribution.
TOLERANCE = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * DRAWS))


def distance(mechanism, value, odds):
    """Largest gap between the distribution functions of DRAWS draws and of the odds {payload value: probability}."""
    drawn = np.sort([mechanism.decode(mechanism.randomize(value)) for _ in range(DRAWS)])
    support = sorted(odds)
    expected = np.cumsum([float(odds[y]) for y in support])
    return float(np.max(np.abs(np.searchsorted(drawn, support, side="right") / DRAWS - expected)))


@pytest.mark.parametrize("value", [0, 1])
def test_rr_draws_follow_the_odds(value):
    """A doubled or halved ε would be seen."""
    mechanism = RandomizedResponse(1.0)

    assert distance(mechanism, value, dict(enumerate(mechanism.odds()[value]))) <= TOLERANCE
    assert distance(mechanism, value, dict(enumerate(RandomizedResponse(2.0).odds()[value]))) > TOLERANCE


@pytest.mark.parametrize("value", [0, 3])
def test_krr_draws_follow_the_odds(value):
    """For the first category and the last."""
    mechanism = KAryResponse(1.5, labels(4))

    assert distance(mechanism, value, dict(enumerate(mechanism.odds()[value]))) <= TOLERANCE


@pytest.mark.parametrize("value", [0, 3])
def test_dlap_draws_follow_the_odds(value):
    """At both ends of the range, where clamping first would show."""
    mechanism = DiscreteLaplace(1.0, 0, 3)
    legal = range(-mechanism.reach, 3 + mechanism.reach + 1)

    assert distance(mechanism, value, dict(zip(legal, clamped_odds(mechanism, value, legal), strict=True))) <= TOLERANCE
