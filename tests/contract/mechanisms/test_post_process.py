"""Named options of a reader: what each promises."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discreet_contract.mechanisms.post_process import clip, monotone, norm_sub

SHARES = st.lists(st.floats(-2, 2), min_size=1, max_size=20)


@given(SHARES)
def test_clipped_shares_lie_within_bounds(shares):
    """And those that did are untouched."""
    clipped = clip(shares)

    assert all(0 <= share <= 1 for share in clipped)
    assert all(after == before for before, after in zip(shares, clipped, strict=True) if 0 <= before <= 1)


def test_clipping_is_biased_as_stated():
    """Upwards by 0.4 standard errors at a true share of 0 (1/√(2π)); seeded."""
    noise = np.random.default_rng(1).normal(0, 0.01, 100_000)

    assert np.mean(clip(noise.tolist())) == pytest.approx(0.01 / math.sqrt(2 * math.pi), rel=0.02)


@given(SHARES)
def test_the_projection_is_the_nearest_distribution(shares):
    """By the conditions that mark it: no share below zero, sum one, one constant taken off all that stay."""
    projected = norm_sub(shares)

    assert all(share >= 0 for share in projected)
    assert math.fsum(projected) == pytest.approx(1, abs=1e-9)
    taken = [before - after for before, after in zip(shares, projected, strict=True)]
    constant = max(taken[i] for i, share in enumerate(projected) if share > 0)
    for off, share in zip(taken, projected, strict=True):
        assert off == pytest.approx(constant, abs=1e-9) if share > 0 else off <= constant + 1e-9


def test_a_distribution_is_its_own_projection():
    assert norm_sub([0.5, 0.25, 0.25, 0.0]) == (0.5, 0.25, 0.25, 0.0)
    assert norm_sub([1.2, -0.1, -0.1]) == pytest.approx((1.0, 0.0, 0.0))


@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(1, 9)), min_size=1, max_size=20))
def test_monotone_values_fall_and_keep_their_mean(pairs):
    """Weighted; falling input is unchanged."""
    values, weights = zip(*pairs, strict=True)
    fallen = monotone(values, weights)

    assert all(a >= b - 1e-9 for a, b in pairwise(fallen))
    assert np.dot(fallen, weights) == pytest.approx(np.dot(values, weights), abs=1e-9)
    falling = sorted(values, reverse=True)
    assert monotone(falling, weights) == pytest.approx(falling)


def test_values_without_weight_join_their_neighbours():
    assert monotone([9.0, 0.8, 7.0, 0.2, 5.0], [0, 2, 0, 1, 0]) == pytest.approx((0.8, 0.8, 0.8, 0.2, 0.2))
