"""A hundred thousand devices through a story of releases that the gate let pass: nobody moves who need not."""

from datetime import date
from itertools import pairwise

import pytest
from scipy.stats import binom

from discreet_agent.trials.facts import Facts
from discreet_agent.trials.standing import draw_all
from discreet_contract.policy.gate import Circumstances, release_problems
from trial_bench import trial, trial_policy

DEVICES = 100_000
TODAY = date(2023, 11, 20)
FACTS = Facts("tv", "1.0", "2023-11-02")
ODDS = 1e-9  # of a false alarm, for each of three shares

FIRST = trial(traffic="10%")
SECOND = trial(salt="second-2023-k2", traffic="20%")
THIRD = trial(salt="third-2023-k3", traffic="30%", start="2023-12-01")
ELSEWHERE = trial(salt="elsewhere-2023", layer="other", flag="rows", traffic="80%")
RAMPED = FIRST | {"traffic": "40%", "slots": ["0%-10%", "30%-60%"]}
HELD = SECOND | {"slots": ["10%-30%"]}

# What each release changes; `first` changes itself in one of them alone.
STORY = {
    "it begins": {"first": FIRST, "second": SECOND},
    "others are announced, in its layer and elsewhere": {
        "first": FIRST, "second": SECOND, "elsewhere": ELSEWHERE, "third": THIRD,
    },
    "it is ramped; the younger one, which has not begun, makes room": {
        "first": RAMPED, "second": HELD, "elsewhere": ELSEWHERE, "third": THIRD,
    },
    "the other is taken out": {"first": RAMPED, "elsewhere": ELSEWHERE, "third": THIRD},
    "a new one takes its place": {
        "first": RAMPED, "elsewhere": ELSEWHERE, "third": THIRD, "fresh": trial(salt="fresh-2023-k5", traffic="20%"),
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def releases():
    """The story's policies; each was let pass after those before it."""
    made = [trial_policy(number, **trials).policy for number, trials in enumerate(STORY.values(), start=1)]
    for number in range(1, len(made)):
        under = Circumstances(["aa", "bb"], earlier=made[: number - 1], today=TODAY)
        problems = [str(one) for one in release_problems(made[number - 1], made[number], under)]
        assert problems == [], list(STORY)[number]
    return made


@pytest.fixture(scope="module")
def drawn(releases):
    """For each release: experiment → device → arm."""
    story = []
    for policy in releases:
        arms = {name: {} for name in policy.experiments}
        for number in range(DEVICES):
            for name, arm in draw_all(policy, number.to_bytes(32, "big"), FACTS).arms.items():
                arms[name][number] = arm
        story.append(arms)
    return story


def test_nobody_moves_when_something_else_changes(drawn):
    """0 of 100,000: not in the experiment's own layer, not in another, whether others come, grow, or go."""
    for before, after in pairwise(drawn):
        for name in ("second", "elsewhere"):
            if name in before and name in after:
                assert before[name] == after[name]
    assert drawn[0]["first"] == drawn[1]["first"]
    assert drawn[2]["first"] == drawn[3]["first"] == drawn[4]["first"]


def test_a_ramp_keeps_everybody_in_the_arm(drawn):
    """Whoever took part does, in the same arm; others come in, and none of them from another experiment."""
    before, after = drawn[1]["first"], drawn[2]["first"]
    assert {number: after[number] for number in before} == before
    assert not after.keys() & drawn[1]["second"].keys()
    assert not after.keys() & drawn[2]["second"].keys()


def test_shares_are_those_that_the_policy_states(drawn):
    """Within the binomial's bounds: traffic before and after the ramp, and the arms."""
    grown = drawn[2]["first"]
    for count, trials, share in (
        (len(drawn[0]["first"]), DEVICES, 0.1),
        (len(grown), DEVICES, 0.4),
        (list(grown.values()).count("on"), len(grown), 0.5),
    ):
        assert binom.ppf(ODDS / 2, trials, share) <= count <= binom.ppf(1 - ODDS / 2, trials, share)


def test_no_device_is_in_two_experiments_of_one_layer(drawn, releases):
    for arms, policy in zip(drawn, releases, strict=True):
        inside = [
            number for name, own in arms.items() for number in own if policy.experiments[name].layer == "playback"
        ]
        assert len(inside) == len(set(inside))
