"""Flags answer as flagd documents: variants, reasons, errors."""

import pytest

from discreet_agent.personal.flags import FlagSet
from discreet_agent.personal.values import Failure, FlagError, Reason, Resolution
from discreet_contract.clock import SystemClock
from discreet_contract.policy.personalization import Flag

SWITCH = {"on": True, "off": False}


def flag(targeting=None, *, variants=SWITCH, default="off", state="ENABLED", metadata=None):
    return Flag(
        state=state, variants=variants, default_variant=default, targeting=targeting or {}, metadata=metadata or {}
    )


def evaluated(one, context=None, *, evaluators=None, killed=frozenset()):
    """The answer of a set that holds this flag alone."""
    flags = FlagSet({"f": one}, evaluators or {}, clock=SystemClock(), killed=killed)
    return flags.evaluate("f", context or {})


def test_a_flag_without_targeting_is_static():
    """Also where its targeting is an empty mapping."""
    answer = evaluated(flag(metadata={"team": "media"}))
    assert answer == Resolution("f", value=False, variant="off", reason=Reason.STATIC, metadata={"team": "media"})


def test_a_disabled_flag_leaves_the_app_its_own_default():
    """No value, no variant; its metadata are passed on."""
    answer = evaluated(flag({"if": [True, "on"]}, state="DISABLED", metadata={"v": 1}))
    assert answer == Resolution("f", value=None, variant=None, reason=Reason.DISABLED, metadata={"v": 1})


def test_what_targeting_names_is_a_match():
    """Also where it splits: flagd knows no reason SPLIT."""
    assert evaluated(flag({"if": [{"var": "x"}, "on"]}), {"x": 1}) == Resolution(
        "f", value=True, variant="on", reason=Reason.TARGETING_MATCH
    )
    split = evaluated(flag({"fractional": [["on", 1]]}), {"targetingKey": "k"})
    assert split.reason is Reason.TARGETING_MATCH


@pytest.mark.parametrize("targeting", [{"if": [False, "on"]}, {"if": [True, None, "on"]}, {"var": "absent"}])
def test_targeting_that_gives_null_means_the_default_variant(targeting):
    """With the reason DEFAULT."""
    answer = evaluated(flag(targeting, metadata={"m": True}))
    assert answer == Resolution("f", value=False, variant="off", reason=Reason.DEFAULT, metadata={"m": True})


@pytest.mark.parametrize("default", [None, ""])
@pytest.mark.parametrize("targeting", [{}, {"if": [False, "on"]}])
def test_without_a_default_variant_the_app_takes_its_own(default, targeting):
    """Reason DEFAULT, never STATIC: the app's code decides."""
    answer = evaluated(flag(targeting, default=default))
    assert answer == Resolution("f", value=None, variant=None, reason=Reason.DEFAULT)


@pytest.mark.parametrize(
    ("result", "variant"),
    [(True, "true"), (False, "false"), (1, "1"), (2.5, "2.5"), ({"+": ["1", 0]}, "1")],
)
def test_booleans_and_numbers_name_variants(result, variant):
    """As their text in JSON."""
    variants = {"true": 1, "false": 2, "1": 3, "2.5": 4}
    answer = evaluated(flag({"if": [True, result]}, variants=variants, default="true"))
    assert (answer.variant, answer.reason) == (variant, Reason.TARGETING_MATCH)


@pytest.mark.parametrize("result", ["third", "", 7, {"merge": ["on"]}, {"var": ""}])
def test_a_variant_that_the_flag_does_not_have_is_an_error(result):
    """A list that reads like a variant's name is none."""
    answer = evaluated(flag({"if": [True, result]}))
    assert isinstance(answer, Failure)
    assert answer.code is FlagError.GENERAL


def test_a_default_variant_that_the_flag_does_not_have_is_an_error():
    """With and without targeting."""
    for targeting in ({}, {"if": [False, "on"]}):
        assert evaluated(flag(targeting, default="third")).code is FlagError.GENERAL


@pytest.mark.parametrize(
    "targeting", [{"nonsense": []}, {"$ref": "absent"}, {"if": [{"$ref": "absent"}, "on"]}, {"$ref": "loop"}]
)
def test_a_broken_rule_is_a_parse_error(targeting):
    """And the other flags live on."""
    flags = {"f": flag(targeting), "sound": flag()}
    those = FlagSet(flags, {"loop": {"!": {"$ref": "loop"}}}, clock=SystemClock())
    assert those.evaluate("f", {}).code is FlagError.PARSE_ERROR
    assert those.evaluate("sound", {}).variant == "off"


def test_a_flag_that_nobody_declared_is_not_found():
    """By flagd's own code."""
    assert FlagSet({}, {}, clock=SystemClock()).evaluate("f", {}).code is FlagError.FLAG_NOT_FOUND


def test_a_killed_flag_gives_its_default():
    """Whatever its targeting says; a disabled one stays disabled."""
    killed = frozenset({"f"})
    answer = evaluated(flag({"if": [True, "on"]}), killed=killed)
    assert (answer.variant, answer.reason) == ("off", Reason.DEFAULT)
    assert evaluated(flag(state="DISABLED"), killed=killed).reason is Reason.DISABLED


def test_names_are_listed_in_order():
    """For bulk answers that compare byte by byte."""
    assert FlagSet({"b": flag(), "a": flag()}, {}, clock=SystemClock()).keys == ("a", "b")


def test_a_failure_names_no_value_of_the_context():
    """P1: neither in its detail nor in what `repr` prints."""
    answer = evaluated(flag({"if": [True, {"cat": ["canary-", {"var": "secret"}]}]}), {"secret": "s3cr3t"})
    assert "s3cr3t" not in answer.detail + repr(answer)
    assert "s3cr3t" not in repr(evaluated(flag({"if": [True, "on"]}, variants={"on": "s3cr3t"}), {}))


@pytest.mark.parametrize(
    ("targeting", "expected"),
    [
        ({}, set()),
        ({"var": "features.minutes"}, {"features.minutes"}),
        ({"var": "features.minutes.sport"}, {"features.minutes"}),
        ({"var": ["scores.s", {"var": "segments.g"}]}, {"scores.s", "segments.g"}),
        ({"var": "features"}, {"features"}),
        ({"var": "featuresque.x"}, set()),
        ({"var": "email"}, set()),
        ({"var": 0}, set()),
        ({"missing": ["features.a", "b"]}, {"features.a"}),
        ({"missing": [["features.a", "scores.b"]]}, {"features.a", "scores.b"}),
        ({"missing_some": [1, ["features.a", "experiments.e"]]}, {"features.a", "experiments.e"}),
        ({"var": {"cat": ["features.", {"var": "x"}]}}, {"features", "scores", "segments", "experiments"}),
        ({"var": ""}, {"features", "scores", "segments", "experiments"}),
        ({"var": []}, {"features", "scores", "segments", "experiments"}),
        ({"missing": {"merge": [["features.a"]]}}, {"features", "scores", "segments", "experiments"}),
        ({"map": [{"var": "features.top"}, {"var": "features.inner"}]}, {"features.top"}),
        ({"reduce": [{"var": "l"}, {"var": ""}, {"var": "scores.s"}]}, {"scores.s"}),
        ({"$ref": "one"}, {"features.a", "features.b"}),
        ({"fractional": [{"var": "segments.g"}, [{"var": "scores.s"}, 1]]}, {"segments.g", "scores.s"}),
    ],
)
def test_what_a_flag_may_read_is_known_beforehand(targeting, expected):
    """Through shared conditions too; a name that is worked out may be any."""
    shared = {
        "one": {"and": [{"var": "features.a"}, {"$ref": "two"}]},
        "two": {"or": [{"var": "features.b"}, {"$ref": "one"}]},
    }
    flags = FlagSet({"f": flag(targeting)}, shared, clock=SystemClock())
    assert flags.reads("f") == expected
    assert flags.reads("unknown") == frozenset()


@pytest.mark.parametrize(
    ("variants", "values"),
    [
        ({"soft": 2.5, "loud": 10}, [2.5, 10.0]),
        ({"soft": 2, "loud": 10}, [2, 10]),
        ({"soft": 2.0, "loud": 10}, [2.0, 10]),
        ({"on": True, "half": 0.5}, [True, 0.5]),
    ],
)
def test_where_one_number_has_a_fraction_all_are_floats(variants, values):
    """A signed policy says 10 for 10.0; a client that asks for a float would take the one and not the other."""
    targeting = {"var": "wanted"}
    answers = [evaluated(flag(targeting, variants=variants), {"wanted": name}).value for name in variants]
    defaults = [evaluated(flag(variants=variants, default=name)).value for name in variants]
    assert answers == defaults == values
    assert (
        [type(value) for value in answers] == [type(value) for value in defaults] == [type(value) for value in values]
    )
