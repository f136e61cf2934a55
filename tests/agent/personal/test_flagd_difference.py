"""Our flags beside flagd's own Python evaluator: equal where flags are well made, and each difference is meant.

The differences stand below, one line each with its reason; docs/decisions/0024 says why they are kept.
"""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from discreet_agent.personal.flags import FlagSet
from discreet_agent.personal.values import Failure
from discreet_contract.clock import SystemClock
from discreet_contract.policy.personalization import Flag

VARIANTS = {"on": "1", "off": "2", "true": "3", "false": "4", "7": "5"}
NOTHING = "the app's own default"
SHARED = {"member": {"in": ["@example", {"var": "email"}]}, "late": {">": [{"var": "minutes"}, 50]}}


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    """flagd's evaluator logs each version that it cannot read, with a traceback."""
    logging.getLogger("openfeature.contrib").disabled = True


def theirs(targeting, context, default):
    """(variant, reason or error) of openfeature-flagd-core."""
    one = {"state": "ENABLED", "variants": VARIANTS, "targeting": targeting}
    core = FlagdCore()
    core.set_flags({"flags": {"f": one | ({"defaultVariant": default} if default else {})}, "$evaluators": SHARED})
    named = dict(context)
    key = named.pop("targetingKey", None)
    try:
        details = core.resolve_string_value("f", NOTHING, EvaluationContext(key, named))
    except OpenFeatureError as error:
        return error.error_code.value
    return details.variant, details.value, details.reason.value


def ours(targeting, context, default):
    """The same of this agent."""
    flags = {"f": Flag(state="ENABLED", variants=VARIANTS, default_variant=default, targeting=targeting)}
    answer = FlagSet(flags, SHARED, clock=SystemClock()).evaluate("f", context)
    if isinstance(answer, Failure):
        return answer.code.value
    return answer.variant, NOTHING if answer.variant is None else answer.value, answer.reason.value


# --- rules as people write them, over contexts as apps send them ------------------------------------------------------

TEXTS = st.sampled_from(["", "ann@example.org", "bob", "abc", "c", "10", "v1.2.0"])
COUNTS = st.integers(0, 100)
PARTS = [st.integers(0, 3).map(str)] * 3
VERSIONS = st.tuples(*PARTS).map(".".join) | st.sampled_from(["1.0.0-rc.1", "v2.1", "2", "1.0.0+b", "none"])
CONTEXTS = st.fixed_dictionaries(
    {"email": TEXTS, "minutes": COUNTS, "version": VERSIONS, "tags": st.lists(TEXTS, max_size=4)},
    optional={
        "targetingKey": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        "user": st.fixed_dictionaries({"name": TEXTS, "age": COUNTS}),
        "paid": st.booleans(),
        "ids": st.lists(COUNTS, max_size=5),
    },
)


def _var(*names):
    return st.sampled_from(names).map(lambda name: {"var": name})


def _call(operators, *arguments):
    """{operator: [arguments]} of drawn ones."""
    return st.tuples(st.sampled_from(operators), st.tuples(*arguments).map(list)).map(lambda call: {call[0]: call[1]})


def _call_many(operators, argument):
    """The same with one to three arguments of one kind."""
    several = st.lists(argument, min_size=1, max_size=3)
    return st.tuples(st.sampled_from(operators), several).map(lambda call: {call[0]: call[1]})


SUMMED = {"reduce": [{"var": "ids"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}
TEXT = TEXTS | _var("email", "version") | TEXTS.map(lambda text: {"var": ["user.name", text]})
NUMBER = st.recursive(
    COUNTS | _var("minutes", "tags.length") | st.just(SUMMED),
    lambda inner: (
        _call_many(["+", "*", "min", "max"], inner)
        | _call(["-"], inner, inner)
        | _call(["/"], inner, st.integers(1, 9))
        | _call(["%"], _var("minutes"), st.integers(1, 9))
    ),
    max_leaves=4,
)
WORD = TEXTS.filter(str.isalpha)
OF_ITEMS = _call(["<", ">=", "=="], st.just({"var": ""}), COUNTS)
READ = st.sampled_from(["email", "user.name", "absent", "paid"])
VERSION_OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "^", "~", "?"])
SIMPLE = st.one_of(
    st.booleans(),
    _var("paid", "email", "minutes", "tags", "absent", "user"),
    _call(["==", "!=", "===", "!=="], TEXT, TEXT),
    _call(["==", "!=", "===", "!==", "<", "<=", ">", ">="], NUMBER, NUMBER),
    _call(["<", "<="], NUMBER, NUMBER, NUMBER),
    _call(["<", ">"], WORD, WORD),
    _call(["in"], TEXT, TEXT | _var("tags")),
    _call(["starts_with", "ends_with"], TEXT | NUMBER, TEXT),
    _call(["sem_ver"], TEXT | _var("minutes"), VERSION_OPERATORS, VERSIONS),
    _call(["all", "some", "none"], _var("ids", "absent"), OF_ITEMS),
    _call(["filter"], _var("ids"), OF_ITEMS),
    st.lists(READ, max_size=3).map(lambda names: {"missing": names}),
    _call(["missing_some"], st.integers(0, 3), st.just(["email", "user.name", "absent"])),
    st.sampled_from(sorted(SHARED)).map(lambda name: {"$ref": name}),
    _call(["substr"], TEXT, COUNTS, COUNTS).map(lambda part: {"!!": part}),
)
CONDITION = st.recursive(
    SIMPLE,
    lambda inner: _call_many(["and", "or"], inner) | _call(["!", "!!"], inner),
    max_leaves=5,
)
NAMES = st.sampled_from(["on", "off", "third", None, True, 7])
WEIGHT = st.tuples(NAMES, st.integers(-3, 60)).map(list) | NAMES.map(lambda name: [name])
KEY = st.just([]) | (TEXT | _var("minutes", "paid", "user", "absent")).map(lambda key: [key])
SPLIT = st.tuples(KEY, st.lists(WEIGHT, min_size=1, max_size=4)).map(lambda t: {"fractional": t[0] + t[1]})
TARGETING = st.recursive(
    NAMES | SPLIT,
    lambda inner: _call(["if"], CONDITION, inner, inner) | _call(["if"], CONDITION, inner),
    max_leaves=4,
).filter(lambda rule: isinstance(rule, dict))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(TARGETING | CONDITION.filter(lambda rule: isinstance(rule, dict)), CONTEXTS, st.sampled_from([None, "off"]))
def test_well_made_flags_answer_as_flagd_does(targeting, context, default):
    """Variant, value, reason and error code."""
    assert ours(targeting, context, default) == theirs(targeting, context, default)


TRUE, FALSE = ("true", "3", "TARGETING_MATCH"), ("false", "4", "TARGETING_MATCH")
ON = ("on", "1", "TARGETING_MATCH")


@pytest.mark.parametrize(
    ("targeting", "mine", "flagd", "why"),
    [
        ({"===": [1, True]}, FALSE, TRUE, "strict means of one type; Python's True is an int"),
        ({"in": [1, [True]]}, FALSE, TRUE, "the same, within a list"),
        ({"==": [{"var": "absent"}, 0]}, FALSE, TRUE, "null equals null only, as JavaScript says"),
        ({"==": ["", 0]}, TRUE, FALSE, "an empty text is the number 0, as JavaScript says"),
        ({"==": ["1_0", 10]}, FALSE, TRUE, "no JSON writes a number with an underscore"),
        ({"==": [{"%": [-5, 3]}, -2]}, TRUE, FALSE, "a remainder has the sign of what is divided"),
        ({"==": [{"-": [7, {"var": "absent"}]}, 7]}, TRUE, FALSE, "an absent argument is 0, not one argument less"),
        ({"==": [{"cat": ["a", {"var": "absent"}]}, "a"]}, TRUE, FALSE, "cat joins as JavaScript and Go do"),
        ({"if": [True, 7.0]}, ("7", "5", "TARGETING_MATCH"), "GENERAL", "JSON's 7.0 is 7"),
        ({"fractional": ["k", ["on", 1.0]]}, ON, ("off", "2", "DEFAULT"), "the same, as a weight"),
    ],
)
def test_differences_are_meant(targeting, mine, flagd, why):
    """Where flagd's Python evaluator differs from flagd itself (Go) or from JSONLogic's reference."""
    assert ours(targeting, {}, "off") == mine, why
    assert theirs(targeting, {}, "off") == flagd, why


@pytest.mark.parametrize(
    "targeting", [{"/": [1, 0]}, {"%": [1, 0]}, {"==": [{"/": [{"var": "big"}, 3]}, 1]}, {"var": [{"var": "list"}]}]
)
def test_what_raises_there_answers_here(targeting):
    """No context makes an evaluation raise."""
    context = {"big": 10**400, "list": [[["x"]]]}
    assert ours({"if": [targeting, "on", "off"]}, context, "off") in {ON, ("off", "2", "TARGETING_MATCH")}


def test_shared_conditions_may_use_later_ones():
    """flagd replaces the text of each in turn, so that there the order decides; here it does not."""
    flag = Flag(state="ENABLED", variants=VARIANTS, default_variant="off", targeting={"$ref": "b"})
    for shared in ({"a": True, "b": {"!": {"$ref": "a"}}}, {"b": {"!": {"$ref": "a"}}, "a": True}):
        assert FlagSet({"f": flag}, shared, clock=SystemClock()).evaluate("f", {}).variant == "false"
