"""Scores: sums of what features say, and never a number that JSON cannot carry."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discreet_agent.personal.scores import as_number, compile_score, logistic, score
from discreet_agent.personal.values import FeatureValue
from discreet_contract.policy.personalization import Score


def feature(name, value):
    return FeatureValue(name, "v1", value, 0, 1.0)


def scored(values, *, kind="linear", weights=None, bias=0.0, fallbacks=None):
    """The score of features given by name."""
    declared = Score(kind=kind, weights=weights or {"a": 2.0, "b": -1.0}, bias=bias, fallbacks=fallbacks or {})
    return score(compile_score("s", declared), {name: feature(name, value) for name, value in values.items()})


def test_a_linear_score_is_its_bias_and_the_weighted_sum():
    """Features that it does not weigh do not matter."""
    assert scored({"a": 3, "b": 0.5, "c": 99}, bias=1.0).value == 6.5


def test_a_logistic_score_is_a_share():
    """Half at zero, and symmetric."""
    assert scored({"a": 0, "b": 0}, kind="logistic").value == 0.5
    assert scored({"a": 1, "b": 0}, kind="logistic").value == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize("value", [None, "text", {"news": 1}, math.nan, math.inf, 10**400])
def test_what_has_no_number_takes_the_fallback_or_the_score_has_none(value):
    """A text, a mapping, what is absent, what is not finite."""
    assert scored({"a": value, "b": 1}).value is None
    answered = scored({"a": value, "b": 1}, fallbacks={"a": 10})
    assert (answered.value, answered.fallbacks) == (19.0, ("a",))


def test_a_feature_that_nobody_read_is_absent():
    """As one without a value."""
    assert scored({"b": 1}).value is None
    assert scored({"b": 1}, fallbacks={"a": 0}).value == -1.0


def test_truths_are_one_and_zero():
    """As `last` of a boolean field gives them."""
    assert scored({"a": True, "b": False}).value == 2.0


@pytest.mark.parametrize("x", [0.0, -0.0, 1e-300, -745.2, -710.0, 710.0, 1e308, -1e308, 36.7, -36.7])
def test_the_logistic_function_is_safe_everywhere(x):
    """Between 0 and 1, without an overflow."""
    assert 0 <= logistic(x) <= 1
    assert logistic(x) + logistic(-x) == pytest.approx(1)


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.sampled_from("abcd"), st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), st.floats() | st.integers()),
    st.sampled_from(["linear", "logistic"]),
)
def test_a_score_is_finite_or_absent(bias, weights, values, kind):
    """Whatever the weights and the features; and the order in which weights were written does not matter."""
    one = scored(values, kind=kind, weights=weights, bias=bias)
    assert one.value is None or math.isfinite(one.value)
    assert one == scored(values, kind=kind, weights=dict(reversed(weights.items())), bias=bias)


def test_sums_stop_at_the_largest_float():
    """In both directions."""
    assert scored({"a": 1e308, "b": -1e308}).value == sys.float_info.max
    assert as_number(2**1000) == 2.0**1000


def test_nothing_of_a_value_is_printed():
    """P1."""
    assert "6.5" not in repr(scored({"a": 3, "b": 0.5}, bias=1.0))
