"""Buckets: half-open, in order, every number in exactly one."""

import math

import pytest

from discreet_contract.mechanisms.histogram import bucket_labels, bucket_of, check_edges

EDGES = (0, 10, 60.5)


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(-math.inf, 0), (-0.1, 0), (0, 1), (9.999, 1), (10, 2), (60.4, 2), (60.5, 3), (1e300, 3), (math.inf, 3)],
)
def test_a_bucket_holds_its_lower_edge(value, bucket):
    assert bucket_of(value, EDGES) == bucket


def test_buckets_are_named_in_their_order():
    assert bucket_labels(EDGES) == ("< 0", "0 … < 10", "10 … < 60.5", "≥ 60.5")
    assert bucket_labels((5,)) == ("< 5", "≥ 5")


def test_not_a_number_falls_into_no_bucket():
    """It must never reach a mechanism."""
    with pytest.raises(ValueError, match="no bucket"):
        bucket_of(math.nan, EDGES)


@pytest.mark.parametrize("edges", [(), (1, 1), (2, 1), (0, math.inf), (math.nan,)])
def test_edges_that_make_no_buckets_are_refused(edges):
    with pytest.raises(ValueError, match="edges"):
        check_edges(edges)
