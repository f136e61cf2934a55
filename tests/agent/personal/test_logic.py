"""Each operation of JSONLogic as its documentation has it; where implementations differ, as JavaScript."""

import math

import pytest

from discreet_agent.personal.coerce import LogicError
from discreet_agent.personal.frame import Frame
from discreet_agent.personal.logic import compile_rule
from discreet_agent.personal.values import Names
from discreet_contract.policy.logic import DEEPEST, MOST_PARTS, is_too_large

NOW_MS = 1_790_000_000_000


def run(rule, data=None, evaluators=None):
    """What a rule gives under a context."""
    return compile_rule(rule, evaluators)(data, Frame(data, "colour", lambda: NOW_MS))


DATA = {
    "a": 1,
    "none": None,
    "empty": "",
    "user": {"name": "Ann", "tags": ["x", "y"]},
    "list": [1, 2, 3, 4],
    "0": "zero",
    "people": [{"x": 1}, {"x": 2}],
    "nested": {"deep": {"deeper": 5}},
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"var": "a"}, 1),
        ({"var": ["a"]}, 1),
        ({"var": "user.name"}, "Ann"),
        ({"var": "user.tags.1"}, "y"),
        ({"var": "user.tags.2"}, None),
        ({"var": "user.tags.-1"}, None),
        ({"var": "user.tags.01"}, None),
        ({"var": "user.name.0"}, "A"),
        ({"var": "user.tags.length"}, 2),
        ({"var": "nested.deep.deeper"}, 5),
        ({"var": "nested.deep.deeper.more"}, None),
        ({"var": ["missing", 7]}, 7),
        ({"var": ["none", 7]}, 7),
        ({"var": ["empty", 7]}, ""),
        ({"var": ["user.missing.deeper", "x"]}, "x"),
        ({"var": ["missing", {"var": "a"}]}, 1),
        ({"var": 0}, "zero"),
        ({"var": {"cat": ["user", ".", "name"]}}, "Ann"),
        ({"var": ["missing"]}, None),
        ({"var": "$flagd.flagKey"}, "colour"),
        ({"var": "$flagd.timestamp"}, NOW_MS // 1000),
        ({"var": {"cat": ["$flagd", ".flagKey"]}}, "colour"),
        ({"var": "$flagd.other"}, None),
        ({"missing": ["a", "b"]}, ["b"]),
        ({"missing": "b"}, ["b"]),
        ({"missing": [["a", "b", "empty", "none"]]}, ["b", "empty", "none"]),
        ({"missing": {"merge": ["a", ["b"]]}}, ["b"]),
        ({"missing": []}, []),
        ({"missing_some": [1, ["a", "b", "c"]]}, []),
        ({"missing_some": [2, ["a", "b", "c"]]}, ["b", "c"]),
        ({"missing_some": [1]}, []),
    ],
)
def test_reading_the_context(rule, expected):
    """Dotted paths, indexes, defaults for what is absent or null, and flagd's own properties."""
    assert run(rule, DATA) == expected


@pytest.mark.parametrize("data", [None, 5, "text", [1, 2]])
def test_reading_a_context_that_is_no_mapping(data):
    """An app may send anything: what is not there is null."""
    assert run({"var": "a.b"}, data) is None
    assert run({"var": ""}, data) == data


def test_the_whole_context_has_what_flagd_adds_and_no_forgery_of_it():
    """An app cannot say what the flag is called."""
    data = {"$flagd": {"flagKey": "forged"}, "a": 1}
    whole = run({"var": ""}, data)
    assert whole == {"a": 1, "$flagd": {"flagKey": "colour", "timestamp": NOW_MS // 1000}}
    assert run({"var": "$flagd.flagKey"}, data) == "colour"
    assert data["$flagd"] == {"flagKey": "forged"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (None, False),
        (0, False),
        (0.0, False),
        (-0.0, False),
        (math.nan, False),
        (1, True),
        (-1, True),
        (math.inf, True),
        ("", False),
        ("0", True),
        ("false", True),
        ([], False),
        ([0], True),
        ({}, True),
        ({"a": 1, "b": 2}, True),
    ],
)
def test_truth(value, expected):
    """JSONLogic's own table: the text "0" and an empty mapping are true, an empty list is not."""
    assert run({"!!": [{"var": "v"}]}, {"v": value}) is expected
    assert run({"!": [{"var": "v"}]}, {"v": value}) is not expected
    assert run({"if": [{"var": "v"}, "yes", "no"]}, {"v": value}) == ("yes" if expected else "no")


@pytest.mark.parametrize(
    ("one", "other", "loosely", "strictly"),
    [
        (1, 1, True, True),
        (1, 1.0, True, True),
        (1, "1", True, False),
        ("1", 1.0, True, False),
        (" 1 ", 1, True, False),
        ("1_0", 10, False, False),
        ("inf", math.inf, False, False),
        ("Infinity", math.inf, True, False),
        (1, True, True, False),
        (0, False, True, False),
        ("", 0, True, False),
        ("", False, True, False),
        ("true", True, False, False),
        ("1", True, True, False),
        (None, None, True, True),
        (None, 0, False, False),
        (None, "", False, False),
        (None, False, False, False),
        ([1], 1, True, False),
        ([1, 2], "1,2", True, False),
        ([], "", True, False),
        ({}, "[object Object]", True, False),
        ([1], [1], False, False),
        ({}, {}, False, False),
        (math.nan, math.nan, False, False),
        ("a", "a", True, True),
        ("a", "b", False, False),
        ("a", 1, False, False),
    ],
)
def test_equality(one, other, loosely, strictly):
    """JavaScript's `==` and `===`, either way round."""
    for data in ({"a": one, "b": other}, {"a": other, "b": one}):
        both = [{"var": "a"}, {"var": "b"}]
        assert run({"==": both}, data) is loosely
        assert run({"!=": both}, data) is not loosely
        assert run({"===": both}, data) is strictly
        assert run({"!==": both}, data) is not strictly


def test_a_list_equals_itself():
    """Lists and mappings are compared by identity, as in JavaScript."""
    assert run({"==": [{"var": "l"}, {"var": "l"}]}, {"l": [1]}) is True
    assert run({"===": [{"var": "l"}, {"var": "l"}]}, {"l": [1]}) is True


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"<": [1, 2]}, True),
        ({"<": [2, 2]}, False),
        ({"<=": [2, 2]}, True),
        ({">": [2, 1]}, True),
        ({">=": [1, 2]}, False),
        ({"<": [1, 2, 3]}, True),
        ({"<": [1, 1, 3]}, False),
        ({"<": [1, 4, 3]}, False),
        ({"<=": [1, 1, 3]}, True),
        ({"<": ["10", 9]}, False),
        ({"<": ["10", "9"]}, True),
        ({"<": ["b", "a"]}, False),
        ({"<": [None, 1]}, True),
        ({">": [True, False]}, True),
        ({"<": ["apple", 1]}, False),
        ({">=": ["apple", 1]}, False),
        ({"<": [[5], 6]}, True),
    ],
)
def test_order(rule, expected):
    """Texts by their characters, everything else by number; nothing holds for what is no number."""
    assert run(rule) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"and": [True, True]}, True),
        ({"and": [True, "", 3]}, ""),
        ({"and": [True, "a", 3]}, 3),
        ({"and": []}, None),
        ({"or": [False, "a"]}, "a"),
        ({"or": [False, 0, ""]}, ""),
        ({"or": []}, None),
        ({"if": [True, "a", "b"]}, "a"),
        ({"if": [False, "a", "b"]}, "b"),
        ({"?:": [False, "a", "b"]}, "b"),
        ({"if": [False, "a", True, "b", "c"]}, "b"),
        ({"if": [False, "a", False, "b"]}, None),
        ({"if": [False, "a"]}, None),
        ({"if": ["only"]}, "only"),
        ({"if": []}, None),
    ],
)
def test_choices(rule, expected):
    """`and`, `or` and `if` give values, not only truths."""
    assert run(rule) == expected


def test_what_is_not_chosen_is_not_evaluated():
    """An unknown operation breaks a rule only where it is reached, as in flagd."""
    broken = {"nonsense": [1]}
    assert run({"if": [True, "a", broken]}) == "a"
    assert run({"or": ["a", broken]}) == "a"
    assert run({"and": [0, broken]}) == 0
    with pytest.raises(LogicError, match="nonsense"):
        run({"if": [False, "a", broken]})


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"+": [1, 2, 3]}, 6),
        ({"+": "3.5"}, 3.5),
        ({"+": []}, 0),
        ({"*": [2, "3"]}, 6),
        ({"-": [5, 2]}, 3),
        ({"-": "5"}, -5),
        ({"-": [5, None]}, 5),
        ({"/": [1, 2]}, 0.5),
        ({"/": [1, 0]}, math.inf),
        ({"/": [-1, 0]}, -math.inf),
        ({"%": [7, 3]}, 1),
        ({"%": [-7, 3]}, -1),
        ({"%": [5.5, 2]}, 1.5),
        ({"min": [3, 1, "2"]}, 1),
        ({"max": [3, 1, 2]}, 3),
        ({"cat": ["a", 1, 1.0, 1.5, True, None]}, "a111.5true"),
        ({"cat": "a"}, "a"),
        ({"cat": [[1, [2, None]], "x"]}, "1,2,x"),
        ({"cat": []}, ""),
        ({"substr": ["jsonlogic", 4]}, "logic"),
        ({"substr": ["jsonlogic", -5]}, "logic"),
        ({"substr": ["jsonlogic", 1, 3]}, "son"),
        ({"substr": ["jsonlogic", 4, -2]}, "log"),
        ({"substr": ["jsonlogic", -99, 2]}, "js"),
        ({"substr": ["jsonlogic", 99]}, ""),
        ({"substr": ["jsonlogic", "x", 2]}, "js"),
        ({"in": ["Spring", "Springfield"]}, True),
        ({"in": ["i", "team"]}, False),
        ({"in": ["a", ["a", "b"]]}, True),
        ({"in": [1, ["1", True]]}, False),
        ({"in": [1, [1.0]]}, True),
        ({"in": [1, None]}, False),
        ({"merge": [[1], 2, [3, [4]]]}, [1, 2, 3, [4]]),
        ({"merge": 1}, [1]),
        ({"starts_with": ["192.168.0.1", "192.168"]}, True),
        ({"starts_with": ["10.0.0.1", "192.168"]}, False),
        ({"ends_with": ["a@b.example", "@b.example"]}, True),
        ({"starts_with": ["a"]}, None),
        ({"starts_with": [1, "1"]}, None),
        ({"ends_with": ["1", 1]}, None),
        ({"ends_with": []}, None),
    ],
)
def test_values(rule, expected):
    """Numbers, texts and lists."""
    assert run(rule) == expected


@pytest.mark.parametrize("rule", [{"/": [0, 0]}, {"%": [1, 0]}, {"+": ["apple", 1]}, {"min": [1, "x"]}, {"max": []}])
def test_what_is_no_number(rule):
    """Is NaN, and equal to nothing."""
    assert math.isnan(run(rule))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.1, "0.1"),
        (100.0, "100"),
        (1e16, "10000000000000000"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (1.25e-7, "1.25e-7"),
        (0.00001, "0.00001"),
        (0.0000012, "0.0000012"),
        (-1e-5, "-0.00001"),
        (-0.0, "0"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (10**400, "Infinity"),
    ],
)
def test_numbers_as_text(value, written):
    """JavaScript's digits, which every implementation of flagd but Python's writes."""
    assert run({"cat": [{"var": "v"}]}, {"v": value}) == written


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"map": [{"var": "list"}, {"*": [{"var": ""}, 2]}]}, [2, 4, 6, 8]),
        ({"filter": [{"var": "list"}, {"%": [{"var": ""}, 2]}]}, [1, 3]),
        ({"reduce": [{"var": "list"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}, 10),
        ({"reduce": [{"var": "missing"}, {"var": "current"}, 5]}, 5),
        ({"all": [{"var": "list"}, {">": [{"var": ""}, 0]}]}, True),
        ({"all": [[], True]}, False),
        ({"some": [{"var": "list"}, {">": [{"var": ""}, 3]}]}, True),
        ({"some": [[], True]}, False),
        ({"none": [{"var": "list"}, {">": [{"var": ""}, 9]}]}, True),
        ({"none": [[], True]}, True),
        ({"map": [{"var": "a"}, {"var": ""}]}, []),
        ({"filter": [None, True]}, []),
        ({"map": [{"var": "people"}, {"var": "x"}]}, [1, 2]),
        ({"map": [{"var": "list"}, {"var": "a"}]}, [None] * 4),
        ({"map": [["k"], {"var": "$flagd.flagKey"}]}, [None]),
    ],
)
def test_loops(rule, expected):
    """A rule for items sees the item alone, neither the context nor flagd's properties."""
    assert run(rule, DATA) == expected


def test_shared_conditions_are_taken_in_also_by_one_another():
    """`$ref` stands for what `$evaluators` holds, in the scope where it stands."""
    shared = {"adult": {">=": [{"var": "age"}, 18]}, "member": {"and": [{"$ref": "adult"}, {"var": "paid"}]}}
    assert run({"$ref": "member"}, {"age": 20, "paid": True}, shared) is True
    assert run({"filter": [{"var": "all"}, {"$ref": "adult"}]}, {"all": [{"age": 3}, {"age": 30}]}, shared) == [
        {"age": 30}
    ]


@pytest.mark.parametrize("shared", [{}, {"other": True}])
def test_a_shared_condition_that_is_not_there_breaks_the_rule(shared):
    """As in flagd."""
    with pytest.raises(LogicError):
        run({"$ref": "absent"}, {}, shared)


def test_what_is_no_operation_is_a_value():
    """A mapping of no key or of several stands for itself."""
    assert run({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    assert run({}) == {}
    assert run([1, {"+": [1, 1]}]) == [1, 2]


def _nested(depth):
    rule = 1
    for _ in range(depth):
        rule = {"!": [rule]}
    return rule


@pytest.mark.parametrize(
    ("rule", "shared"),
    [
        (_nested(DEEPEST + 1), {}),
        ({"and": [1] * MOST_PARTS}, {}),
        ({"$ref": "a"}, {"a": {"$ref": "b"}, "b": {"!": {"$ref": "a"}}}),
        ({"$ref": "0"}, {str(n): {"and": [{"$ref": str(n + 1)}] * 3} for n in range(20)} | {"20": True}),
    ],
)
def test_a_rule_is_bounded_when_it_is_compiled(rule, shared):
    """In depth, in size with all that it takes in, and it does not take in itself; a release is told so before."""
    assert is_too_large(rule, shared) or shared.keys() == {"a", "b"}
    with pytest.raises(LogicError):
        compile_rule(rule, shared)


def test_a_deep_rule_within_the_bound_runs():
    """Nobody's stack ends before the bound does."""
    for depth in (DEEPEST // 2, DEEPEST):
        assert not is_too_large(_nested(depth), {})
        assert run(_nested(depth)) in (True, False)


_TWICE = [{"var": "accumulator"}, {"var": "accumulator"}]


@pytest.mark.parametrize(
    "rule",
    [
        {"reduce": [{"var": "l"}, {"cat": _TWICE}, "ab"]},
        {"reduce": [{"var": "l"}, {"merge": _TWICE}, [1, 2]]},
        {"cat": {"reduce": [{"var": "l"}, _TWICE, [1]]}},
        {"map": [{"var": "l"}, {"cat": {"var": ""}}]},
        {"fractional": [{"map": [[1], {"reduce": [{"var": "l"}, _TWICE, 1]}]}, ["a", 1]]},
    ],
)
def test_a_rule_cannot_grow_without_end(rule):
    """Texts and lists that double with every item stop at their bound; so do the nested lists that only look small."""
    data = {"l": [1] * 200}
    try:
        value = run(rule, data)
    except LogicError:
        return
    assert value is None or len(str(value)) < 100_000


def test_numbers_cannot_grow_without_end():
    """A product of products leaves the integers and ends at infinity."""
    squared = {"*": _TWICE}
    assert run({"reduce": [{"var": "l"}, squared, 3]}, {"l": [1] * 5000}) == math.inf


def test_a_loop_within_a_loop_is_paid_for():
    """So a long list ends the evaluation, not the daemon's patience."""
    inner = {"some": [{"var": "inner"}, {"==": [{"var": ""}, -1]}]}
    data = {"l": [{"inner": list(range(500))}] * 500}
    with pytest.raises(LogicError, match="too much work"):
        run({"some": [{"var": "l"}, inner]}, data)


def test_names_that_hold_are_read_by_path_and_as_a_list():
    """As the agent gives segments; other mappings are no lists, as in JavaScript."""
    context = {"segments": Names({"binge": True, "left": False}), "plain": {"binge": True}}
    assert run({"var": "segments.binge"}, context) is True
    assert run({"var": "segments.night"}, context) is None
    assert run({"in": ["binge", {"var": "segments"}]}, context) is True
    for name in ("night", "left"):
        assert run({"in": [name, {"var": "segments"}]}, context) is False
    assert run({"in": [["binge"], {"var": "segments"}]}, context) is False
    assert run({"in": ["binge", {"var": "plain"}]}, context) is False
