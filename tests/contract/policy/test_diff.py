"""Every change is classed, for the users of a policy and for the people it measures."""

import pytest

from discreet_contract.errors import ExitCode
from discreet_contract.policy.compile import load_policy
from discreet_contract.policy.diff import diff_facts, diff_markdown, diff_policies, diff_text
from discreet_contract.policy.diff_rules import Compatibility, Privacy, classify
from discreet_contract.policy.tree import ABSENT, Difference, differences
from policies import EXHAUSTIBLE, FLIGHTS, HOST, built


def changed(*edits):
    """The flights policy with edits, whatever they cost."""
    return built(EXHAUSTIBLE, *edits)


OLD = built(EXHAUSTIBLE)
NEW_SIGNAL = """signals:
  location.coarse:
    version: 1-0-0
    role: observation
    kind: context
    sensitivity: sensitive
    why: Where it is, coarsely.
    owner: ops@flights.example
    expires: 2028-01-01
    retention: 1d
"""
ORIGIN = "origin: {type: category, values: [EWR, JFK, LGA]}"
DELAY = "delay: {type: number, min: -120, max: 1440, unit: min}"
# edit → (place of the change, for users, for privacy)
TABLE = [
    (("version: 1\n", "version: 2\n"), "version", "cosmetic", "neutral"),
    (("reason: first", "reason: second"), "release.reason", "cosmetic", "neutral"),
    (("tells how punctual", "says how punctual"), "signals.flight.departed.why", "cosmetic", "neutral"),
    (("consent: managed", "consent: opt-in"), "consent", "breaking", "improving"),
    (("id: demo", "id: demo2"), "aggregator.keys", "compatible", "neutral"),
    (("0009", "0008"), "aggregator.keys", "breaking", "regressing"),
    (("per_28_days: 4.0", "per_28_days: 5.0"), "budget.per_28_days", "compatible", "regressing"),
    (("lifetime: 120.0", "lifetime: 100.0"), "budget.lifetime", "compatible", "improving"),
    (("lateness: 2h", "lateness: 3h"), "lateness", "compatible", "neutral"),
    (("lateness: 2h", "lateness: 2h\nundeclared: refuse"), "undeclared", "breaking", "neutral"),
    (
        ("lateness: 2h", "lateness: 2h\ncontracts: {flight.departed: {latency: 1h}}"),
        "contracts.flight.departed",
        "compatible",
        "neutral",
    ),
    (("late_horizon: 35d", "late_horizon: 60d"), "late_horizon", "compatible", "regressing"),
    (("spread: 1h", "spread: 1m"), "spread", "compatible", "regressing"),
    (("spread: 1h", "spread: 60m"), "spread", "compatible", "neutral"),
    (("receipt_buckets: 16", "receipt_buckets: 256"), "receipt_buckets", "compatible", "regressing"),
    (("signals:\n", NEW_SIGNAL), "signals.location.coarse", "compatible", "regressing"),
    (("role: observation", "role: both"), "signals.flight.departed.role", "compatible", "regressing"),
    (("interaction", "technical"), "signals.flight.departed.sensitivity", "compatible", "regressing"),
    (("interaction", "sensitive"), "signals.flight.departed.sensitivity", "compatible", "neutral"),
    (("expires: 2028", "expires: 2029"), "signals.flight.departed.expires", "compatible", "regressing"),
    (("retention: 35d", "retention: 3d"), "signals.flight.departed.retention", "compatible", "improving"),
    (("retention: 35d", "retention: 90d"), "signals.flight.departed.retention", "compatible", "regressing"),
    (
        ("retention: 35d", "retention: 35d\n    max_per_minute: 60"),
        "signals.flight.departed.max_per_minute",
        "compatible",
        "improving",
    ),
    (("max: 1440", "max: 2880"), "signals.flight.departed.fields.delay.max", "compatible", "regressing"),
    (("max: 1440", "max: 720"), "signals.flight.departed.fields.delay.max", "breaking", "improving"),
    (("unit: min}", "unit: min, default: 0}"), "signals.flight.departed.fields.delay.default", "compatible", "neutral"),
    (("unit: min", "unit: s"), "signals.flight.departed.fields.delay.unit", "breaking", "neutral"),
    ((", LGA]", ", LGA, SWF]"), "signals.flight.departed.fields.origin.values", "compatible", "regressing"),
    (("[EWR, JFK,", "[JFK, EWR,"), "signals.flight.departed.fields.origin.values", "breaking", "neutral"),
    (("[EWR, JFK,", "[JFK,"), "signals.flight.departed.fields.origin.values", "breaking", "improving"),
    (
        ("min: -120, max", "required: false, min: -120, max"),
        "signals.flight.departed.fields.delay.required",
        "compatible",
        "neutral",
    ),
    (
        (ORIGIN, ORIGIN + "\n      gate: {type: boolean, required: false}"),
        "signals.flight.departed.fields.gate",
        "compatible",
        "regressing",
    ),
    (
        (ORIGIN, ORIGIN + "\n      gate: {type: boolean}"),
        "signals.flight.departed.fields.gate",
        "breaking",
        "regressing",
    ),
    (("epsilon: 1.0", "epsilon: 0.5"), "metrics.late_departure.epsilon", "breaking", "improving"),
    (("epsilon: 1.0", "epsilon: 2.0"), "metrics.late_departure.epsilon", "breaking", "regressing"),
    (("window: 28d", "window: 7d"), "metrics.late_departure.window", "breaking", "regressing"),
    (("min_devices: 200", "min_devices: 50"), "metrics.late_departure.min_devices", "breaking", "regressing"),
    (("{var: delay}, 60", "{var: delay}, 30"), "metrics.late_departure.where", "breaking", "regressing"),
    (("bounds: [0, 40]", "bounds: [0, 50]"), "metrics.departures.bounds", "breaking", "neutral"),
    (("unit: share of aircraft", "unit: share"), "metrics.late_departure.display.unit", "compatible", "neutral"),
]


@pytest.mark.parametrize(("edit", "place", "compatibility", "privacy"), TABLE, ids=lambda v: str(v)[:40])
def test_an_edit_has_its_two_classes(edit, place, compatibility, privacy):
    [change] = [c for c in diff_policies(OLD, changed(edit)).changes if ".".join(c.path) == place]

    assert (change.compatibility.name.lower(), change.privacy.name.lower()) == (compatibility, privacy)


@pytest.mark.parametrize("path", [FLIGHTS, HOST], ids=lambda p: p.stem)
def test_a_policy_does_not_differ_from_itself(path):
    diff = diff_policies(load_policy(path), load_policy(path))

    assert diff.changes == ()
    assert diff.exit_code is ExitCode.OK
    assert diff_text(diff) == "no change"


def test_what_went_is_the_opposite_of_what_came():
    """A signal added is compatible and regressing, removed it is breaking and improving."""
    more = changed(("signals:\n", NEW_SIGNAL))
    [change] = diff_policies(more, OLD).changes

    assert (change.compatibility, change.privacy) == (Compatibility.BREAKING, Privacy.IMPROVING)


def test_the_headline_says_loss_and_newly_sensitive_signals():
    dearer = changed(("epsilon: 1.0", "epsilon: 0.5"), ("signals:\n", NEW_SIGNAL))

    assert diff_policies(OLD, dearer).headline == "365-day loss 42 → 35; adds sensitive signal location.coarse"


def test_a_category_value_more_is_another_metric():
    """The list is part of the metric's definition: sums of old and new must not be added."""
    diff = diff_policies(OLD, changed((", LGA]", ", LGA, SWF]")))
    [change] = [c for c in diff.changes if c.path == ("metrics", "main_origin", "version")]

    assert change.compatibility is Compatibility.BREAKING
    assert diff.exit_code is ExitCode.DIFF_BREAKING_REGRESSING


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (("version: 1\n", "version: 2\n"), 0),
        (("lateness: 2h", "lateness: 3h"), 10),
        (("unit: min", "unit: s"), 11),
        (("spread: 1h", "spread: 1m"), 12),
        (("epsilon: 1.0", "epsilon: 2.0"), 13),
    ],
)
def test_the_exit_code_tells_a_pipeline_what_to_do(edit, code):
    assert diff_policies(OLD, changed(edit)).exit_code == code


def test_a_section_that_no_rule_knows_is_judged_with_suspicion():
    came, changed, went = (
        classify(Difference(("fences", "x"), old, new)) for old, new in ((ABSENT, 1), (1, 2), (2, ABSENT))
    )

    assert came == (Compatibility.COMPATIBLE, Privacy.REGRESSING)
    assert changed == went == (Compatibility.BREAKING, Privacy.REGRESSING)


def test_values_of_an_unknown_form_are_judged_with_suspicion():
    """A rule that cannot read what stands there does not fail."""
    assert classify(Difference(("spread",), "1h", None)) == (Compatibility.BREAKING, Privacy.REGRESSING)


def test_numbers_that_are_equal_do_not_differ_but_truth_is_no_number():
    assert list(differences({"a": 1}, {"a": 1.0})) == []
    assert len(list(differences({"a": 1}, {"a": True}))) == 1


def test_text_markdown_and_json_hold_the_same_changes():
    diff = diff_policies(OLD, changed(("epsilon: 1.0", "epsilon: 2.0"), ("spread: 1h", "spread: 1m")))
    facts = diff_facts(diff)

    assert diff_text(diff).splitlines() == [
        "breaking, privacy-regressing",
        "365-day loss 42 → 42",
        "",
        "breaking    regressing  metrics.late_departure.epsilon: 1.0 → 2.0",
        "compatible  regressing  spread: 1h → 1m",
    ]
    assert "| metrics.late\\_departure.epsilon: 1.0 → 2.0 | breaking | regressing |" in diff_markdown(diff)
    assert facts["exit_code"] == 13
    assert [change["path"] for change in facts["changes"]] == [["metrics", "late_departure", "epsilon"], ["spread"]]


def test_words_of_a_policy_are_not_markup_in_a_review_comment():
    diff = diff_policies(OLD, changed(("reason: first", "reason: '<img src=x> | [a](b)' #")))

    assert "\\<img src=x\\> \\| \\[a\\](b)" in diff_markdown(diff)


@pytest.mark.parametrize(
    ("key", "old", "new", "verdict"),
    [
        ("signals", ["a"], ["a", "b"], (Compatibility.COMPATIBLE, Privacy.NEUTRAL)),
        ("signals", ["a", "b"], ["a"], (Compatibility.BREAKING, Privacy.NEUTRAL)),
        ("features", ["a"], ["a", "b"], (Compatibility.COMPATIBLE, Privacy.REGRESSING)),
        ("segments", ["a"], ["b"], (Compatibility.BREAKING, Privacy.REGRESSING)),
        ("flags", ["a", "b"], ["a"], (Compatibility.BREAKING, Privacy.NEUTRAL)),
        ("uid", 1000, 1001, (Compatibility.BREAKING, Privacy.REGRESSING)),
    ],
)
def test_what_a_sender_may_do(key, old, new, verdict):
    """Emitting more breaks nobody; reading more tells a program more; another program is suspicious."""
    assert classify(Difference(("senders", "app", key), old, new)) == verdict
