"""Arms are drawn from a device's secret: stable, exclusive within a layer, independent between layers."""

import secrets
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chi2_contingency

from discreet_contract.assignment import POSITIONS, assignment_key, draw_arm, is_held_out, layer_position
from discreet_contract.policy.allotment import allot, covers, holds, read_slots, size, write_slots

DEVICES = 100_000
KEYS = [assignment_key(number.to_bytes(32, "big")) for number in range(DEVICES)]


@dataclass(frozen=True)
class Trial:
    """As much of an experiment as decides who is in it."""

    layer: str = "rows"
    start: str = "2027-01-01"
    end: str = "2027-03-01"
    traffic: str = "20%"
    slots: tuple = ()
    salt: str = "a salt"
    arms: dict = field(default_factory=lambda: {"a": 50, "b": 50})


@dataclass(frozen=True)
class Rules:
    """As much of a policy."""

    experiments: dict
    layers: dict = field(default_factory=dict)


def arms(rules, name, keys=KEYS):
    """Device → arm, of those who take part."""
    trial, ranges = rules.experiments[name], allot(rules)[name]
    return {
        number: draw_arm(key, trial.salt, trial.arms)
        for number, key in enumerate(keys)
        if holds(ranges, layer_position(key, trial.layer))
    }


def test_no_device_moves_when_anything_else_changes():
    """Another layer, a later experiment, one that ended before: 0 of 100,000 devices are in another arm."""
    one = Rules({"m": Trial()})
    before = arms(one, "m")
    others = {
        "n": Trial(start="2027-01-02", salt="another"),
        "other": Trial(layer="player", traffic="90%", salt="third"),
        "past": Trial(start="2026-01-01", end="2027-01-01", traffic="50%", salt="fourth"),
    }
    assert arms(Rules(one.experiments | others), "m") == before
    assert len(before) == pytest.approx(DEVICES / 5, abs=binom.ppf(1 - 1e-9, DEVICES, 0.2) - DEVICES / 5)


def test_a_ramp_moves_nobody_between_arms():
    """Whoever took part stays in the same arm; others come in."""
    before = arms(Rules({"m": Trial(traffic="5%")}), "m")
    after = arms(Rules({"m": Trial(traffic="60%")}), "m")
    assert {number: after[number] for number in before} == before
    assert len(after) > len(before) * 10


def test_experiments_of_one_layer_exclude_one_another():
    rules = Rules({"m": Trial(), "n": Trial(salt="other"), "o": Trial(traffic="60%", salt="third")})
    parts = [set(arms(rules, name)) for name in rules.experiments]
    assert sum(map(len, parts)) == len(set.union(*parts)) == DEVICES


def test_layers_arms_and_holdout_are_independent():
    """χ² over 100,000 devices, each at a false-alarm rate of 1e-6: position against position, arm, and holdout."""
    rows = [layer_position(key, "rows") * 10 // POSITIONS for key in KEYS]
    pairs = {
        "another layer": [layer_position(key, "player") * 10 // POSITIONS for key in KEYS],
        "the arm": [draw_arm(key, "salt", {"a": 20, "b": 30, "c": 50}) for key in KEYS],
        "the global holdout": [is_held_out(key, "fleet", 1000) for key in KEYS],
    }
    for name, others in pairs.items():
        values = sorted(set(others))
        table = [[0] * len(values) for _ in range(10)]
        for row, other in zip(rows, others, strict=True):
            table[row][values.index(other)] += 1
        assert chi2_contingency(table).pvalue > 1e-6, name


def test_shares_of_arms_hold():
    """Within the binomial's 1e-9 bounds."""
    drawn = [draw_arm(key, "salt", {"a": 20, "b": 30, "c": 50}) for key in KEYS]
    for arm, share in (("a", 0.2), ("b", 0.3), ("c", 0.5)):
        low, high = binom.ppf(1e-9, DEVICES, share), binom.ppf(1 - 1e-9, DEVICES, share)
        assert low <= drawn.count(arm) <= high


def test_stated_slots_come_first_and_a_layers_holdout_is_on_top():
    rules = Rules(
        {"m": Trial(traffic="60%"), "n": Trial(start="2027-02-01", traffic="10%", slots=("0%-10%",))},
        {"rows": type("Layer", (), {"holdout": "30%"})()},
    )
    assert allot(rules) == {"n": ((0, 1000),), "m": ((1000, 7000),)}


@given(st.lists(st.tuples(st.integers(0, POSITIONS - 1), st.integers(1, 500)), min_size=1, max_size=8))
def test_slots_are_written_as_they_are_read(parts):
    ranges = read_slots([f"{first / 100:g}%-{min(POSITIONS, first + more) / 100:g}%" for first, more in parts])
    written = write_slots(ranges)
    assert read_slots([part.strip('" ') for part in written[1:-1].split(",")]) == ranges
    assert covers(ranges, ranges)
    assert 0 < size(ranges) <= POSITIONS


def test_keys_say_nothing_of_each_other():
    """The key is not the secret, and differs for each device."""
    secret = secrets.token_bytes(32)
    assert assignment_key(secret) != secret
    assert len(set(KEYS)) == DEVICES
