"""Whatever a rule and whatever an app's context: an answer or a named refusal, and soon."""

import contextlib
import math
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discreet_agent.personal.coerce import LogicError
from discreet_agent.personal.flags import FlagSet
from discreet_agent.personal.frame import Frame
from discreet_agent.personal.logic import compile_rule
from discreet_agent.personal.operations import OPERATIONS
from discreet_agent.personal.reads import GROUPS, readings
from discreet_agent.personal.values import Failure, FlagError, Resolution
from discreet_contract.clock import SystemClock
from discreet_contract.policy.personalization import Flag

SPECIAL = ("if", "?:", "and", "or", "var", "missing", "missing_some", "reduce", "fractional", "$ref")
LOOPS = ("map", "filter", "all", "some", "none")
OPERATORS = st.sampled_from([*OPERATIONS, *SPECIAL, *LOOPS, "unknown"])
NAMES = st.sampled_from(["", "a", "a.b", "l", "l.0", "l.length", "$flagd.flagKey", "targetingKey", "current"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(2**64), 0.0, -0.0, math.nan, math.inf, 5e-324, 1.7e308])
    | st.floats()
    | st.text(st.characters(), max_size=8)  # halves of surrogate pairs too
    | NAMES
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4)
)
RULES = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(lambda operator, given: {operator: given}, OPERATORS, st.lists(inner, max_size=4) | inner)
        | st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("xy"), inner, max_size=2)
    ),
    max_leaves=40,
)
CONTEXTS = st.dictionaries(NAMES.filter(bool) | st.text(max_size=3), VALUES, max_size=6)


@settings(max_examples=200, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(RULES, VALUES | CONTEXTS, st.dictionaries(NAMES, RULES, max_size=2))
def test_a_rule_answers_or_raises_its_one_error(rule, data, shared):
    """No other exception, for any context; Hypothesis fails what takes longer than 200 ms."""
    with contextlib.suppress(LogicError):
        compile_rule(rule, shared)(data, Frame(data, "f", lambda: 0))


@settings(max_examples=120, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(RULES, CONTEXTS, st.sampled_from(["on", None, "", "third"]))
def test_a_flag_always_answers(rule, context, default):
    """With one of its own variants, nothing, or a code."""
    targeting = rule if isinstance(rule, dict) else {"if": [rule, "on", "off"]}
    flag = Flag(state="ENABLED", variants={"on": 1, "off": 2}, default_variant=default, targeting=targeting)
    answer = FlagSet({"f": flag}, {}, clock=SystemClock()).evaluate("f", context)
    if isinstance(answer, Failure):
        assert answer.code in {FlagError.PARSE_ERROR, FlagError.GENERAL}
    else:
        assert isinstance(answer, Resolution)
        assert answer.variant in {"on", "off", None}


class Watched(dict):
    """A mapping that notes which names were looked up in it."""

    def __init__(self, values, prefix, seen):
        super().__init__(values)
        self.prefix, self.seen = prefix, seen

    def get(self, name, default=None):
        self.seen.add(f"{self.prefix}{name}")
        return super().get(name, default)


GROUPED = st.sampled_from([f"{group}{rest}" for group in GROUPS for rest in ("", ".x", ".y", ".x.z")] + ["app", "l"])
READING_RULES = st.recursive(
    st.builds(lambda name: {"var": name}, GROUPED) | SCALARS,
    lambda inner: (
        st.builds(lambda operator, given: {operator: given}, OPERATORS, st.lists(inner | GROUPED, max_size=4) | inner)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=30,
)


@settings(max_examples=200, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(READING_RULES, st.dictionaries(NAMES, READING_RULES, max_size=2))
def test_whatever_a_rule_looks_up_was_foretold(rule, shared):
    """What `reads` says is what access to features is judged by, and what an experiment rests on."""
    seen = set()
    groups = {group: Watched({"x": {"z": 1}, "y": 2}, f"{group}.", seen) for group in GROUPS}
    data = Watched({**groups, "l": [{"features": {"x": 3}}], "app": "features.x"}, "", seen)
    with contextlib.suppress(LogicError):
        compile_rule(rule, shared)(data, Frame(data, "f", lambda: 0))
    foretold = readings(rule, shared)
    for name in seen:
        group, _, rest = name.partition(".")
        if group in GROUPS:
            assert any(one.partition(".")[0] == group for one in foretold) if not rest else {group, name} & foretold


def _deep(depth, *, as_list):
    value = 1
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


def test_hostile_contexts_cost_little():
    """Deep, long, huge: every operation sees them and the whole answers within a second."""
    hostile = [
        _deep(100_000, as_list=True),
        _deep(100_000, as_list=False),
        ["x"] * 100_000,
        "x" * 1_000_000,
        "9" * 1_000_000,
        {str(n): n for n in range(50_000)},
        10**4000,
    ]
    before = time.process_time()
    for value in hostile:
        for operator in (*OPERATIONS, *SPECIAL, *LOOPS):
            for given_to_it in ([{"var": "v"}], [{"var": "v"}, {"var": "v"}], ["x", {"var": "v"}, {"var": ""}]):
                rule, data = {operator: given_to_it}, {"v": value}
                with contextlib.suppress(LogicError):
                    compile_rule(rule)(data, Frame(data, "f", lambda: 0))
    assert time.process_time() - before < 10


def test_the_costliest_rule_ends():
    """A rule at its largest over the longest lists that it may see: milliseconds, not minutes."""
    body = {"or": [{"==": [{"var": f"x{n}"}, 1]} for n in range(500)]}
    rule = {"or": [{"some": [{"var": "l"}, body]}, {"some": [{"var": "l"}, body]}]}
    data = {"l": [{}] * 100_000}
    before = time.process_time()
    with contextlib.suppress(LogicError):
        compile_rule(rule)(data, Frame(data, "f", lambda: 0))
    assert time.process_time() - before < 2
