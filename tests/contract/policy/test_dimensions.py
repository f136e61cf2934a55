"""What a report may carry in the clear: exactly what its policy gives its metric and window."""

import pytest

from discreet_contract.clock import start_of_day
from discreet_contract.errors import PolicyError
from discreet_contract.policy.dimensions import arm_dimension, is_legal
from discreet_contract.policy.plan import plan_metrics
from trial_bench import trial, trial_policy

DAY = 86_400
NOVEMBER = start_of_day("2023-11-01")
DECEMBER = start_of_day("2023-12-01")
FIRST = arm_dimension("first")


def policy(*experiments, by="[experiments, platform]"):
    """Experiments `first` (all of November), and more, on the metric `plays` with windows of a day."""
    first = trial(end="2023-12-01", traffic="10%")
    return trial_policy(by=by, first=first, **dict(experiments)).policy


def legal(rules, *dimensions, start=NOVEMBER):
    return is_legal(rules, plan_metrics(rules)["plays"], start, dimensions)


def test_arm_and_platform_where_the_metric_says_so():
    rules = policy()
    assert legal(rules)
    assert legal(rules, (FIRST, "on"))
    assert legal(rules, (FIRST, "off"), ("platform", "tv-4.2"))
    assert not legal(rules, (FIRST, "on"), ("release", "1.0"))
    assert not legal(policy(by="[experiments]"), ("platform", "tv"))


@pytest.mark.parametrize(
    "dimensions",
    [
        ((FIRST, "loud"),),
        ((FIRST, ""),),
        ((arm_dimension("second"), "on"),),
        (("first", "on"),),
        (("experiments.", "on"),),
        ((FIRST, "on"), (FIRST, "off")),
        ((FIRST, "on"), (FIRST, "on")),
        (("platform", "tv"), (FIRST, "on")),
        (("platform", "a b"),),
        (("platform", "x" * 41),),
        (("platform", ""),),
        (("platform", "tv\n"),),
        (("Platform", "tv"),),
    ],
)
def test_nothing_else(dimensions):
    """Unknown names and values, twice the same, another order, a platform that is no label."""
    assert not legal(policy(), *dimensions)


def test_windows_that_lie_within_the_experiment_only():
    """The last whole window ends with it."""
    rules = policy()
    assert legal(rules, (FIRST, "on"), start=DECEMBER - DAY)
    assert not legal(rules, (FIRST, "on"), start=DECEMBER)
    assert not legal(rules, (FIRST, "on"), start=NOVEMBER - DAY)


def test_one_arm_of_a_layer_and_one_of_each_other():
    """Two experiments of one layer exclude one another; those of two layers do not."""
    same, other = trial(salt="second-2023-k2", traffic="10%"), trial(salt="third-2023-k3", layer="other", flag="rows")
    rules = policy(("same", same), ("other", other))
    assert legal(rules, (FIRST, "on"), (arm_dimension("other"), "off"))
    assert not legal(rules, (FIRST, "on"), (arm_dimension("same"), "off"))


@pytest.mark.parametrize(("by", "is_refused"), [("[experiments]", False), ("[experiments, platform]", True)])
def test_a_metric_that_too_many_layers_read_is_refused(by, is_refused):
    """Eight arms fill a report; with the platform they would be nine dimensions, and the error names the metric."""
    more = {f"more{n}": trial(salt=f"more-2023-{n}", layer=f"layer{n}", flag=f"flag{n}") for n in range(7)}
    if not is_refused:
        assert len(policy(*more.items(), by=by).experiments) == 8
        return
    with pytest.raises(PolicyError, match="DIMENSIONS from 2023-11-01 on reports of 'plays' would carry more than 8"):
        policy(*more.items(), by=by)
