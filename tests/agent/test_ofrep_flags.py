"""Real flags behind the real edge: whatever an app's context holds, the answer is OFREP's and the edge goes on."""

import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from apps import MemoryApps
from discreet_agent.personal.flags import FlagSet
from discreet_contract.clock import SystemClock
from discreet_contract.policy.operation import Sender
from discreet_contract.policy.personalization import Flag
from serving import serving

ALL = "/ofrep/v1/evaluate/flags"
NAMES = ("country", "age", "version", "email", "list", "nested")
RULES = {
    "equal": {"if": [{"==": [{"var": "country"}, "NL"]}, "a", "b"]},
    "larger": {"if": [{">": [{"var": "age"}, 18]}, "a", "b"]},
    "sums": {"if": [{">": [{"+": [{"var": "age"}, {"*": [{"var": "age"}, {"var": "age"}]}]}, 18]}, "a", "b"]},
    "divided": {"if": [{">": [{"/": [{"var": "age"}, {"%": [{"var": "age"}, {"var": "list.0"}]}]}, 1]}, "a", "b"]},
    "texts": {"if": [{"starts_with": [{"var": "email"}, "a"]}, "a", {"ends_with": [{"var": "email"}, "z"]}, "b", "a"]},
    "versions": {"if": [{"sem_ver": [{"var": "version"}, ">=", "1.2.3"]}, "a", "b"]},
    "split": {"fractional": [["a", 50], ["b", 50]]},
    "split_by": {"fractional": [{"cat": [{"var": "email"}, {"var": "nested.x"}]}, ["a", 1], ["b", 3]]},
    "loops": {"if": [{"some": [{"var": "list"}, {">": [{"var": ""}, 3]}]}, "a", "b"]},
    "named": {"var": "country"},
    "reduced": {
        "if": [{"reduce": [{"var": "list"}, {"+": [{"var": "current"}, {"var": "accumulator"}]}, 0]}, "a", "b"]
    },
    "merged": {"if": [{"in": ["x", {"merge": [{"var": "list"}, {"var": "nested"}]}]}, "a", "b"]},
    "cut": {"if": [{"==": [{"substr": [{"var": "email"}, {"var": "age"}]}, "x"]}, "a", "b"]},
    "missing": {"if": [{"missing": ["nested.x", "age"]}, "a", "b"]},
    "timed": {"if": [{">": [{"var": "$flagd.timestamp"}, {"var": "age"}]}, "a", "b"]},
}


class FlagApps(MemoryApps):
    """Evaluates a policy's flags; the rest from its tables."""

    def __init__(self, flags):
        super().__init__()
        self.set = FlagSet(flags, {}, clock=SystemClock())
        self.flags = dict.fromkeys(self.set.keys)

    def evaluate(self, key, context, speaker):
        if not speaker.may_read_flag(key):
            key = ""
        self.evaluations += 1
        return self.set.evaluate(key, context)


def flag(targeting, **variants):
    return Flag(state="ENABLED", variants=variants, default_variant=min(variants), targeting=targeting)


@pytest.fixture(scope="module")
def served():
    flags = {name: flag(rule, a=True, b=False) for name, rule in RULES.items()}
    flags["gain"] = flag({}, loud=10, soft=2.5)
    flags["columns"] = flag({}, few=3, many=8)
    with serving(apps=FlagApps(flags)) as served:
        yield served


_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["1.2.3", "v1", "1.2.3-rc.1+b", "9" * 30, "-0", "1e309", "\x00", "NL", "az"])
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
_contexts = st.dictionaries(st.sampled_from([*NAMES, "targetingKey", "$flagd", "features", ""]), _values, max_size=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(context=_contexts)
def test_whatever_a_context_holds_every_flag_is_answered(served, context):
    status, answer, _ = served.ask("POST", ALL, {"context": context})
    if status == 400:
        assert answer["errorCode"] == "INVALID_CONTEXT"
        assert not isinstance(context.get("targetingKey", ""), str)
        return
    assert status == 200
    assert {item["key"] for item in answer["flags"]} == {*RULES, "gain", "columns"}
    assert all("value" in item or item["errorDetails"] for item in answer["flags"])
    assert served.failures == []


@pytest.mark.parametrize("number", [10**400, -(10**400), 1e308, 5e-324, 2**64])
def test_numbers_at_the_edge_of_what_can_be_said_bring_nothing_down(served, number):
    status, _, _ = served.ask("POST", ALL, {"context": {"age": number, "list": [number, 0], "version": number}})
    assert status == 200
    assert served.failures == []


@pytest.mark.parametrize("depth", [50, 400, 900])
def test_deep_contexts_bring_nothing_down(served, depth):
    nested = b'{"context": {"nested": ' + b'{"x": [' * depth + b"]}" * depth + b"}}"
    status, _, _ = served.ask("POST", ALL, nested)
    assert status in (200, 400)
    assert served.failures == []


def test_the_stock_provider_takes_numbers_as_they_were_declared(served):
    """The value 10 beside 2.5 is a float to it, 3 beside 8 an integer."""
    api.set_provider(OFREPProvider(f"http://{served.address}"), "numbers")
    client = api.get_client("numbers")
    gain, columns = client.get_float_details("gain", 0.5), client.get_integer_details("columns", 1)
    equal = client.get_boolean_details(
        "equal", default_value=False, evaluation_context=EvaluationContext("k", {"country": "NL"})
    )
    api.clear_providers()
    assert (gain.value, gain.error_code) == (10.0, None)
    assert (columns.value, columns.error_code) == (3, None)
    assert (equal.value, equal.variant) == (True, "a")


def test_a_validator_is_of_no_use_to_another_app():
    """Who is it, is part of what a validator covers."""
    flags = {name: flag({}, a=True, b=False) for name in ("one", "two")}
    senders = {
        name: Sender(token_sha256=hashlib.sha256(name.encode()).hexdigest(), flags=(name,)) for name in ("one", "two")
    }
    with serving(senders, FlagApps(flags)) as served:
        _, _, headers = served.ask("POST", ALL, {}, {"Authorization": "Bearer one"})
        sent = {"Authorization": "Bearer two", "If-None-Match": headers["ETag"]}
        status, answer, _ = served.ask("POST", ALL, {}, sent)
    assert status == 200
    assert [item["key"] for item in answer["flags"]] == ["two"]
