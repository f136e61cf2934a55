"""Which mechanism a metric gets: the least variance, by the mechanisms' own formulas."""

import math

import pytest

from discreet_contract.mechanisms.catalogue import CARRIERS, FITTING, Shape, best, build, fits


def labels(k):
    return tuple(f"c{i}" for i in range(k))


@pytest.mark.parametrize(
    ("epsilon", "k", "expected"),
    [
        (1.0, 2, "krr-1"),
        (1.0, 4, "krr-1"),
        (1.0, 10, "sss-1"),
        (1.0, 16, "sss-1"),
        (1.0, 40, "sss-1"),
        (1.0, 128, "llh-1"),
        (1.0, 1024, "llh-1"),
        (1.0, 65_536, "llh-1"),
        (0.5, 16, "sss-1"),
        (2.0, 16, "sss-1"),
        (4.0, 16, "krr-1"),
        (4.0, 128, "sss-1"),
        (4.0, 1024, "llh-1"),
    ],
)
def test_categories(epsilon, k, expected):
    """Few, some, many; where sets of one are as good, plain k-ary response."""
    assert best("category", epsilon, Shape(labels(k))) == expected
    assert best("histogram", epsilon, Shape(labels(k))) == expected


def test_a_tighter_payload_limit_is_kept():
    """Forty categories: a set takes four bytes, hashing one."""
    assert best("category", 1.0, Shape(labels(40)), payload_limit=3) == "llh-1"
    with pytest.raises(ValueError, match="in 1 bytes"):
        best("category", 1.0, Shape(labels(65_536)), payload_limit=1)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("k", [3, 9, 16, 60, 128, 300, 1024])
def test_nothing_that_fits_has_less_variance(epsilon, k):
    """Among all carriers, and within 4% of subset selection without a payload limit, the best there is (Ye & Barg)."""
    chosen = build(best("category", epsilon, Shape(labels(k))), epsilon, labels(k), (0, 1))
    others = [build(i, epsilon, labels(k), (0, 1)) for i in CARRIERS["category"] if fits(i, Shape(labels(k)))]
    least = chosen.support.mean_variance(k)

    assert least <= min(other.support.mean_variance(k) for other in others) * (1 + 1e-6)
    assert least <= min(subset_variance(epsilon, k, w) for w in range(1, k // 2 + 1)) * 1.04


def subset_variance(epsilon, k, w):
    e = math.exp(epsilon)
    p = w * e / (w * e + k - w)
    b = (w - p) / (k - 1)
    rare, full = (x * (1 - x) / (p - b) ** 2 for x in (b, p))
    return rare + (full - rare) / k


@pytest.mark.parametrize(
    ("epsilon", "bounds", "expected"),
    [
        (1.0, (0, 1), "dbit-1"),
        (8.0, (0, 1), "dbit-1"),
        (0.1, (0, 28), "dbit-1"),
        (1.0, (0, 360_000), "dbit-1"),
        (1.01, (0, 28), "dbit-1"),
        (1.1, (0, 28), "dmix-1"),
        (1.3, (0, 28), "dlev-1"),
        (2.0, (0, 360_000), "dlev-1"),
        (4.0, (-120, 1440), "dlev-1"),
        (8.0, (0, 2), "dlev-1"),
    ],
)
def test_counts_and_means(epsilon, bounds, expected):
    """The bit where noise dominates, levels where rounding to a bit would; the bit for a bit."""
    assert best("count", epsilon, Shape(bounds=bounds)) == expected
    assert best("mean", epsilon, Shape(bounds=bounds)) == expected


@pytest.mark.parametrize("epsilon", [*(n / 50 for n in range(10, 101)), 3.0, 4.0])  # 0.2, 0.22, … 2, 3, 4
def test_means_are_as_good_as_the_best_published(epsilon):
    """Worst case over values, at most 1.10 times that of the hybrid mechanism (Wang et al. 2019, equation 8)."""
    shape = Shape(bounds=(0, 86_400))
    worst = build(best("mean", epsilon, shape), epsilon, (), shape.bounds).expected_error(1) ** 2 / 86_400**2

    assert worst <= 1.10 * max(hybrid_variance(epsilon, t / 100) for t in range(-100, 101))


def hybrid_variance(epsilon, t):
    """Of the hybrid mechanism at t in [−1, 1], in squares of the range."""
    half, e = math.exp(epsilon / 2), math.exp(epsilon)
    piecewise = t * t / (half - 1) + (half + 3) / (3 * (half - 1) ** 2)
    bit = ((e + 1) / (e - 1)) ** 2 - t * t
    mixture = 1 - 1 / half if epsilon > 0.61 else 0
    return (mixture * piecewise + (1 - mixture) * bit) / 4


@pytest.mark.parametrize(
    ("k", "at_most", "expected"), [(4, 2, "msel-krr-1"), (15, 3, "msel-sss-1"), (200, 3, "msel-llh-1")]
)
def test_multi_select(k, at_most, expected):
    """By the inner mechanism over one symbol more."""
    assert best("multi_select", 1.0, Shape(labels(k), at_most=at_most)) == expected
    assert build(expected, 1.0, labels(k), (0, 1), at_most=at_most).labels == labels(k)


def test_what_the_policy_language_allows_can_be_chosen_and_built():
    """Every id, at most sixteen characters long, as the wire format says."""
    assert all(set(ids) <= set(CARRIERS[metric_type]) for metric_type, ids in FITTING.items())
    for mechanism_id in {one for ids in CARRIERS.values() for one in ids} | {"lgrr-1"}:
        mechanism = build(mechanism_id, 1.0, labels(3), (0, 5), at_most=2, draws=2)
        assert mechanism.id == mechanism_id
        assert len(mechanism_id) <= 16
        assert len(mechanism.estimate(mechanism.accumulate([0, 1]).tolist())) == len(mechanism.labels)
    for unknown in ("msel-rr-1", "msel-", "krr-2"):
        with pytest.raises(KeyError):
            build(unknown, 1.0, labels(3), (0, 5))
