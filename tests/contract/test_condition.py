"""`where:` holds or does not; what it cannot mean is found when the policy is read."""

import pytest

from discreet_contract.condition import compile_condition, holds, problems

KINDS = {"delay": "number", "origin": "category", "night": "boolean"}
EVENT = {"delay": 60, "origin": "JFK", "night": False}
DELAY, ORIGIN, NIGHT, MISSING = ({"var": name} for name in ("delay", "origin", "night", "missing"))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({">=": [DELAY, 60]}, True),
        ({">": [DELAY, 60]}, False),
        ({"<=": [DELAY, 60]}, True),
        ({"<": [DELAY, 60.5]}, True),
        ({"==": [DELAY, 60]}, True),
        ({"!=": [DELAY, 60]}, False),
        ({"==": [ORIGIN, "JFK"]}, True),
        ({"!=": [ORIGIN, "EWR"]}, True),
        ({"in": [ORIGIN, ["EWR", "JFK"]]}, True),
        ({"in": [ORIGIN, ["EWR"]]}, False),
        ({"in": [DELAY, [59, 60]]}, True),
        ({"==": [NIGHT, False]}, True),
        ({"!": [{"==": [NIGHT, False]}]}, False),
        ({"and": [{">=": [DELAY, 60]}, {"==": [ORIGIN, "JFK"]}]}, True),
        ({"and": [{">=": [DELAY, 60]}, {"==": [ORIGIN, "EWR"]}]}, False),
        ({"or": [{">": [DELAY, 60]}, {"==": [ORIGIN, "JFK"]}]}, True),
        ({"or": [{">": [DELAY, 60]}, {"==": [ORIGIN, "EWR"]}]}, False),
        ({"!": [{"or": [{">": [DELAY, 60]}, {"and": [{"==": [NIGHT, True]}]}]}]}, True),
    ],
)
def test_a_condition_holds(condition, expected):
    """JSONLogic's comparisons over one event."""
    assert list(problems(condition, KINDS)) == []
    assert holds(condition, EVENT) is expected
    assert compile_condition(condition)(EVENT) is expected


@pytest.mark.parametrize("operation", ["<", "<=", ">", ">=", "==", "!="])
def test_a_comparison_with_a_missing_field_is_false(operation):
    """Even `!=`: nothing is known about it."""
    assert holds({operation: [MISSING, 1]}, EVENT) is False
    assert compile_condition({operation: [MISSING, 1]})(EVENT) is False
    assert holds({"!": [{operation: [MISSING, 1]}]}, EVENT) is True


def test_membership_of_a_missing_field_is_false():
    """None is in no list of constants."""
    assert holds({"in": [MISSING, ["a"]]}, EVENT) is False


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("delay > 60", "a condition is one operator"),
        ([], "a condition is one operator"),
        ({}, "a condition is one operator"),
        ({">": [DELAY, 1], "<": [DELAY, 2]}, "a condition is one operator"),
        ({">": DELAY}, "the arguments of '>' are a list"),
        ({">": [DELAY]}, "'>' compares [{var: field}, constant]"),
        ({">": [1, DELAY]}, "'>' compares"),
        ({">": [DELAY, 1, 2]}, "'>' compares"),
        ({">": [{"var": "delay", "x": 1}, 1]}, "'>' compares"),
        ({">": [{"var": 7}, 1]}, "'>' compares"),
        ({">": [DELAY, DELAY]}, "'delay' is a number and is compared with something else"),
        ({">": [MISSING, 1]}, "no field 'missing'; it has delay, night, origin"),
        ({">": [ORIGIN, "A"]}, "'>' orders numbers, 'origin' is a category"),
        ({"<": [NIGHT, True]}, "'<' orders numbers"),
        ({"==": [DELAY, "60"]}, "compared with something else"),
        ({"==": [DELAY, True]}, "compared with something else"),
        ({"==": [ORIGIN, 7]}, "compared with something else"),
        ({"==": [NIGHT, 0]}, "compared with something else"),
        ({"==": [DELAY, None]}, "compared with something else"),
        ({"==": [DELAY, [60]]}, "compared with something else"),
        ({"in": [ORIGIN, []]}, "'in' wants a list of constants"),
        ({"in": [ORIGIN, "JFK"]}, "'in' wants a list of constants"),
        ({"in": [ORIGIN, ["JFK", 7]]}, "compared with something else"),
        ({"and": []}, "'and' wants at least one condition"),
        ({"!": []}, "'!' wants exactly one condition"),
        ({"!": [{">": [DELAY, 1]}, {">": [DELAY, 2]}]}, "'!' wants exactly one"),
        ({"+": [1, 2]}, "unknown operator '+'; known: and, or, !, in, <, <=, >, >=, ==, !="),
    ],
)
def test_what_a_condition_cannot_mean_is_a_problem(condition, message):
    """Found when the policy is read, never on the device."""
    [problem, *_] = problems(condition, KINDS)

    assert message in problem


def test_all_problems_of_a_nested_condition_are_found():
    """Not only the first."""
    nested = {"and": [{">": [ORIGIN, "A"]}, {"or": [{"==": [MISSING, 1]}, {"!": ["x"]}]}]}

    assert len(list(problems(nested, KINDS))) == 3
