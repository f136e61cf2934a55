"""The shape walk and msgspec agree, and suggestions help."""

import pytest

from discreet_contract.policy.model import Policy
from discreet_contract.policy.shape import check_shape, closest
from policies import FLIGHTS, parsed


def test_a_good_policy_has_no_problems():
    """The example as builtins becomes the record."""
    value = parsed(FLIGHTS.read_text(encoding="utf-8")).value
    value["metrics"] = {"late_departure": value["metrics"]["late_departure"] | {"per_device": {"any": ""}}}

    policy, problems = check_shape(Policy, value)

    assert problems == []
    assert policy.fleet == "flights"


@pytest.mark.parametrize("value", [None, 7, "text", [], True])
def test_what_is_not_a_mapping_is_one_problem(value):
    """Not one for each key that is missing."""
    policy, [problem] = check_shape(Policy, value)

    assert policy is None
    assert (problem.path, problem.rule) == ((), "TYPE")


def test_a_near_miss_is_suggested_and_a_far_one_gets_the_list():
    """Both help."""
    assert closest("epsilom", ["epsilon", "window"]) == "; did you mean 'epsilon'?"
    assert closest("xyz", ["b", "a"]) == "; known: a, b"
    assert closest("xyz", []) == "; known: none"
