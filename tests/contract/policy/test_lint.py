"""Each lint fires where it should, is silenced by a reason, and silence without need is reported."""

from datetime import date

import pytest

from discreet_contract.policy.compile import build_policy, load_policy
from discreet_contract.policy.lint import RULES, lint_policy
from policies import FLIGHTS, HOST, built, edited, parsed

TODAY = date(2026, 11, 1)
UNSUPPRESSED = (
    "suppress:\n"
    "  YEAR_HIGH: public historical data about machines, kept so that three metrics show in every window\n"
    "  BUDGET_RUNS_OUT: the replayed year ends long before the lifetime cap is reached\n"
)
FITS_FOR_GOOD = (
    (UNSUPPRESSED, "suppress: {}\n"),
    ("per_365_days: 42.0", "per_365_days: 24.0"),
    ("per_28_days: 4.0", "per_28_days: 8.0"),
    ("lifetime: 120.0", "lifetime: 900.0"),
    ("window: 28d", "window: 365d"),
    ("window: 28d", "window: 365d"),
    ("window: 28d", "window: 365d"),
)  # three yearly reports: clean without any suppression

TRIGGERS = {
    "EXPIRED": (("expires: 2028-01-01", "expires: 2026-11-01"), ("signals", "flight.departed", "expires")),
    "EXPIRES_FAR": (("expires: 2028-01-01", "expires: 2028-11-02"), ("signals", "flight.departed", "expires")),
    "WHY_SHORT": (
        ("why: One departure from a New York airport; tells how punctual and how busy the fleet is.", "why: for us"),
        ("signals", "flight.departed", "why"),
    ),
    "OWNER_MISSING": (
        ("owner: operations@flights.example", "owner: operations"),
        ("signals", "flight.departed", "owner"),
    ),
    "SENSITIVE_LONG": (
        ("sensitivity: interaction", "sensitivity: sensitive"),
        ("signals", "flight.departed", "retention"),
    ),
    "TRIGGER_MEASURED": (("role: observation", "role: trigger"), ("metrics", "late_departure", "from")),
    "EPSILON_HIGH": (("epsilon: 1.0", "epsilon: 2.01"), ("metrics", "late_departure", "epsilon")),
    "YEAR_HIGH": (("per_365_days: 24.0", "per_365_days: 24.1"), ("budget", "per_365_days")),
    "BUDGET_RUNS_OUT": (("lifetime: 900.0", "lifetime: 299.0"), ("budget",)),
    "WITHHELD_NOISY": (("min_devices: 200", "min_devices: 20"), ("metrics", "late_departure", "min_devices")),
    "SPREAD_MISSING": (("spread: 1h", "spread: 0s"), ("spread",)),
}


def clean(*edits):
    """A policy without any finding or suppression, then edited."""
    text = edited(*FITS_FOR_GOOD)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return build_policy(parsed(text))


def test_every_rule_has_a_case_here():
    """A new lint without a test does not pass."""
    assert set(TRIGGERS) == set(RULES)


def test_every_rule_is_documented():
    """A rule's docstring is its entry in the reference."""
    assert all(rule.__doc__ for rule in RULES.values())


def test_the_untouched_policy_is_clean():
    """The cases below start from nothing."""
    assert lint_policy(clean(), TODAY) == []


@pytest.mark.parametrize("rule", TRIGGERS)
def test_a_rule_fires_at_its_place(rule):
    """That rule and no other, first of all where the policy was edited."""
    edit, path = TRIGGERS[rule]
    found = lint_policy(clean(edit), TODAY)

    assert {finding.rule for finding in found} == {rule}
    assert found[0].path == path


@pytest.mark.parametrize("rule", TRIGGERS)
def test_a_suppression_with_a_reason_silences_its_rule(rule):
    """The reason stands in the policy, for the auditor."""
    edit, _ = TRIGGERS[rule]

    assert lint_policy(clean(edit, ("suppress: {}", f"suppress: {{{rule}: looked at and accepted}}")), TODAY) == []


@pytest.mark.parametrize("rule", TRIGGERS)
def test_a_suppression_without_words_is_itself_reported(rule):
    """`ok` is not a reason."""
    edit, _ = TRIGGERS[rule]
    found = lint_policy(clean(edit, ("suppress: {}", f"suppress: {{{rule}: ok}}")), TODAY)

    assert [(f.rule, f.path) for f in found] == [("UNEXPLAINED_SUPPRESSION", ("suppress", rule))]


@pytest.mark.parametrize("rule", [*TRIGGERS, "NO_SUCH_RULE"])
def test_a_suppression_that_silences_nothing_is_reported(rule):
    """Old exceptions do not linger."""
    found = lint_policy(clean(("suppress: {}", f"suppress: {{{rule}: looked at and accepted}}")), TODAY)

    assert [(f.rule, f.path, f.on_key) for f in found] == [("UNUSED_SUPPRESSION", ("suppress", rule), True)]


@pytest.mark.parametrize("example", [FLIGHTS, HOST], ids=lambda path: path.stem)
def test_the_examples_are_clean(example):
    """What we hand out passes its own lints, for a year after it was written."""
    policy = load_policy(example)

    assert lint_policy(policy, TODAY) == []
    assert lint_policy(policy, date(2027, 10, 31)) == []


def test_a_verdict_depends_on_the_day_it_is_asked_for():
    """`today` is an argument, so a verdict can be repeated."""
    assert "EXPIRED" not in {f.rule for f in lint_policy(built(), date(2027, 12, 31))}
    assert "EXPIRED" in {f.rule for f in lint_policy(built(), date(2028, 1, 1))}
