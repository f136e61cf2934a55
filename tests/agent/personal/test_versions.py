"""`sem_ver` orders versions as SemVer 2.0.0 §11 does and forgives what flagd forgives."""

import itertools

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from discreet_agent.personal.versions import matches, parse

RISING = ("1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11")
RISING += ("1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "1.11.0", "2.0.0")


@pytest.mark.parametrize(("at", "other"), list(itertools.combinations(range(len(RISING)), 2)))
def test_precedence(at, other):
    """The specification's own example, and releases after it."""
    low, high = RISING[at], RISING[other]
    answers = {operator: matches((low, operator, high)) for operator in ("<", "<=", ">", ">=", "=", "!=")}
    assert answers == {"<": True, "<=": True, ">": False, ">=": False, "=": False, "!=": True}


@pytest.mark.parametrize(
    ("version", "operator", "target", "expected"),
    [
        ("1.2.3", "^", "1.9.9", True),
        ("2.0.0", "^", "1.9.9", False),
        ("1.2.3", "~", "1.2.9", True),
        ("1.3.0", "~", "1.2.9", False),
        ("v1.0.0", "=", "1.0.0", True),
        ("V1.0.0", "=", "v1.0.0", True),
        ("vv1.0.0", "=", "1.0.0", None),
        ("1.0.0+a", "=", "1.0.0+b", True),
        ("1", "=", "1.0.0", True),
        ("1.2", "=", "1.2.0", True),
        ("1-rc", "<", "1", True),
        ("1+build-1", "=", "1", True),
        (1, "=", "1.0.0", True),
        (1.2, "=", "1.2.0", True),
        (True, "=", "1.0.0", None),
        (None, "=", "1.0.0", None),
        ([1], "=", "1.0.0", None),
        ("1.0.0.0", "=", "1.0.0", None),
        ("01.0.0", "=", "1.0.0", None),
        ("1.0.0-01", "=", "1.0.0", None),
        ("1.0.0-", "=", "1.0.0", None),
        (" 1.0.0", "=", "1.0.0", None),
        ("1.0.0\n", "=", "1.0.0", None),
        ("", "=", "1.0.0", None),
        ("1.٣.0", "=", "1.3.0", None),
        ("1.0.0", "===", "1.0.0", None),
        ("1.0.0", None, "1.0.0", None),
        ("1." + "9" * 300 + ".0", "=", "1.0.0", None),
    ],
)
def test_ranges_and_spellings(version, operator, target, expected):
    """What cannot be compared gives null, so that the flag takes its default."""
    assert matches((version, operator, target)) is expected


@pytest.mark.parametrize("given", [(), ("1.0.0",), ("1.0.0", "="), ("1.0.0", "=", "1.0.0", "1.0.0")])
def test_it_takes_three_arguments(given):
    """Any other number gives null."""
    assert matches(given) is None


PART = st.integers(0, 30).map(str)
BEFORE = st.lists(st.sampled_from(["0", "1", "11", "alpha", "a-b", "1a"]), max_size=3).map(".".join)
VERSION = st.tuples(PART, PART, PART, BEFORE).map(lambda v: ".".join(v[:3]) + ("-" + v[3] if v[3] else ""))


@given(VERSION, VERSION)
def test_it_orders_as_the_library_that_flagd_uses(one, other):
    """For every pair of full versions."""
    compared = semver.Version.parse(one).compare(other)
    mine, theirs = parse(one), parse(other)
    assert (mine > theirs) - (mine < theirs) == compared
