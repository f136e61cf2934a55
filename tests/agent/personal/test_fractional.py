"""`fractional` gives each key its bucket for good: by flagd's third hash."""

import math
from collections import Counter

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discreet_agent.personal.encode import canonical
from discreet_agent.personal.flags import FlagSet
from discreet_agent.personal.fractional import buckets, choose, hashing
from discreet_agent.personal.values import Reason
from discreet_contract.clock import SystemClock
from discreet_contract.policy.personalization import Flag

DIGEST = hashing()
HALVES = [["a", 50], ["b", 50]]

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def _whole_floats_as_integers(value):
    if isinstance(value, dict):
        return {key: _whole_floats_as_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole_floats_as_integers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and -(2**63) <= value <= 2**64 - 1:
        return int(value)
    return value


@given(PLAIN)
def test_the_bytes_that_are_hashed_are_canonical_cbor(value):
    """Those of the library that flagd's own evaluator uses, once whole floats are integers."""
    assert canonical(value) == cbor2.dumps(_whole_floats_as_integers(value), canonical=True)


@pytest.mark.parametrize("value", ["a" * n for n in (0, 23, 24, 255, 256, 65_535, 65_536)] + [math.nan, math.inf])
def test_the_bytes_at_the_edges_of_their_forms(value):
    """Each length has its own head."""
    assert canonical(value) == cbor2.dumps(value, canonical=True)


def placed(key, weights, flag="f", context=None):
    """The variant of one key, through a whole flag."""
    rule = {"fractional": [*([] if key is None else [{"var": "key"}]), *weights]}
    variants = {"a": "a", "b": "b", "c": "c", "default": "default"}
    flags = {flag: Flag(state="ENABLED", variants=variants, default_variant="default", targeting=rule)}
    answer = FlagSet(flags, {}, clock=SystemClock()).evaluate(flag, {"key": key} | (context or {}))
    return answer.variant


# Made with openfeature-flagd-core 2.0.0. A device that moves to another arm is what these lines forbid.
GOLDEN = [("user-1", "a"), ("user-2", "a"), ("user-3", "b"), ("user-4", "a"), ("user-5", "b"), ("user-10", "b")]


@pytest.mark.parametrize(("key", "variant"), GOLDEN)
def test_keys_keep_their_buckets(key, variant):
    """Through every later version of this code."""
    assert placed(key, HALVES) == variant


def test_without_a_key_the_flag_and_the_targeting_key_are_hashed():
    """As a list of two, so that each flag splits the same devices anew."""
    keys = [f"device-{n}" for n in range(200)]
    first = [placed(None, HALVES, "one", {"targetingKey": key}) for key in keys]
    second = [placed(None, HALVES, "two", {"targetingKey": key}) for key in keys]
    assert first != second
    expected = [choose(["one", key], buckets(HALVES), DIGEST) for key in keys]
    assert first == expected


@pytest.mark.parametrize("context", [{}, {"targetingKey": ""}, {"targetingKey": 5}, {"targetingKey": True}])
def test_without_any_key_the_flag_takes_its_default(context):
    """Only a text that is not empty is a targeting key."""
    assert placed(None, HALVES, "f", context) == "default"


def test_a_key_that_is_not_there_means_the_default():
    """An absent variable is not the targeting key, in flagd's third version."""
    rule = {"fractional": [{"var": "absent"}, *HALVES]}
    flags = {"f": Flag(state="ENABLED", variants={"a": 1, "b": 2}, default_variant="a", targeting=rule)}
    answer = FlagSet(flags, {}, clock=SystemClock()).evaluate("f", {"targetingKey": "k"})
    assert (answer.variant, answer.reason) == ("a", Reason.DEFAULT)


def test_shares_are_kept():
    """10,000 keys over weights of 1, 2 and 7: each within five standard deviations, false alarm below 1e-6."""
    counts = Counter(placed(f"user-{n}", [["a", 1], ["b", 2], ["c", 7]]) for n in range(10_000))
    for variant, share in (("a", 0.1), ("b", 0.2), ("c", 0.7)):
        assert abs(counts[variant] - 10_000 * share) <= 5 * math.sqrt(10_000 * share * (1 - share))


def test_a_ramp_moves_keys_one_way_only():
    """Whoever had the first bucket keeps it while it grows."""
    for n in range(500):
        small, large = placed(f"u{n}", [["a", 10], ["b", 90]]), placed(f"u{n}", [["a", 40], ["b", 60]])
        assert (small, large) in {("a", "a"), ("b", "a"), ("b", "b")}


@pytest.mark.parametrize(
    ("weights", "variant"),
    [
        ([["a"]], "a"),
        ([["a"], ["b", 0]], "a"),
        ([["a", -5], ["b", 1]], "b"),
        ([["a", 1.0]], "a"),
        ([["a", 2**31 - 1]], "a"),
        ([["a", 0]], "default"),
        ([["a", 2**31]], "default"),
        ([["a", 0.5]], "default"),
        ([["a", "1"]], "default"),
        ([["a", True]], "default"),
        ([["a", None]], "default"),
        ([["a", 1, 2]], "default"),
        ([[]], "default"),
        (["a"], "default"),
        ([], "default"),
        ([["a", {"if": [{"var": "key"}, 1, 0]}], ["b", 0]], "a"),
        ([[{"var": "named"}, 1]], "c"),
        ([[None, 1]], "default"),
    ],
)
def test_weights(weights, variant):
    """Whole numbers, below zero is zero, one where it is left out; anything else means the default."""
    assert placed("k", weights, context={"named": "c"}) == variant


@given(PLAIN.filter(lambda value: value is not None and not isinstance(value, list)))
def test_any_value_can_be_a_key(value):
    """Numbers, truths and mappings as well as texts."""
    assert placed(value, HALVES) in {"a", "b"}
