"""Score intervals of shares hold the truth as often as they say, worked out exactly from the binomial."""

from math import comb

import pytest

from discreet_contract.mechanisms.catalogue import build

CASES = [  # mechanism, ε, labels, most that one device holds, devices; in most a chance name is very rare
    ("msel-krr-1", 8.0, 4, 2, 50),
    ("msel-krr-1", 16.0, 4, 2, 50),
    ("msel-krr-1", 10.0, 3, 3, 200),
    ("krr-1", 6.0, 1000, 1, 50),
    ("krr-1", 4.0, 150, 1, 10),
    ("krr-1", 16.0, 65_536, 1, 50),
    ("krr-1", 1.0, 2, 1, 50),
    ("sss-1", 4.0, 60, 1, 50),
    ("llh-1", 8.0, 60_000, 1, 50),
    ("lgrr-1", 8.0, 200, 1, 50),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("share", [0, 1])
def test_a_label_that_nobody_or_everybody_holds_is_covered(case, share):
    """At nominal 95 in 100; the count is binomial there, so nothing is simulated."""
    mechanism_id, epsilon, k, at_most, devices = case
    labels = tuple(f"c{number}" for number in range(k))
    support = build(mechanism_id, epsilon, labels, (0, 1), at_most=at_most).support
    odds = support.own if share else support.other
    covered = 0.0
    for count in range(devices + 1):
        [ends] = support.interval([count], devices, 0.95)
        [estimate] = support.estimate([count], devices)
        assert ends.low < estimate < ends.high
        if ends.low <= share <= ends.high:
            covered += comb(devices, count) * odds**count * (1 - odds) ** (devices - count)
    assert covered >= 0.94
