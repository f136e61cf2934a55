"""Each lint fires where it should, is silenced by a reason, and silence without need is reported."""

from datetime import date

import pytest

from discreet_contract.policy.compile import build_policy, load_policy
from discreet_contract.policy.lint import RULES, lint_policy
from policies import FLIGHTS, HOST, MEDIA, built, edited, parsed

TODAY = date(2026, 11, 1)
FITS_FOR_GOOD = (
    (
        (
            "suppress:\n"
            "  YEAR_HIGH: public historical data about machines, kept so that three metrics show in every window\n"
            "  FIELD_UNREAD: carrier stands in the raw events that docs/data-flow.md shows\n"
        ),
        "suppress: {}\n",
    ),
    ("per_365_days: 42.0", "per_365_days: 24.0"),
    ("per_28_days: 4.0", "per_28_days: 8.0"),
    (
        (
            "      carrier:\n"
            "        type: category\n"
            "        values: [9E, AA, AS, B6, DL, EV, F9, FL, HA, MQ, OO, UA, US, VX, WN, YV]\n"
        ),
        "",
    ),
    ("window: 28d", "window: 365d"),
    ("window: 28d", "window: 365d"),
    ("window: 28d", "window: 365d"),
)  # three yearly reports: clean without any suppression

# Edits of that policy: rule → (edit, path)
FLIGHTS_TRIGGERS = {
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
    "WITHHELD_NOISY": (("min_devices: 200", "min_devices: 20"), ("metrics", "late_departure", "min_devices")),
    "SPREAD_MISSING": (("spread: 1h", "spread: 0s"), ("spread",)),
}

EXPERIMENT = ("experiments", "autoplay-2027")
EXHAUSTIBLE = ("  lifetime: 120.0", "  lifetime: 120.0\n  exhaustible: a test of one lint")
MANY_VALUES = ", ".join(f"value{number}" for number in range(101))

# Edits of media.yaml: rule → (edits, path of the rule's first finding). Some edits break a second rule too.
MEDIA_TRIGGERS = {
    "EXPIRES_SOON": ([("expires: 2028-06-30", "expires: 2026-11-20")], ("signals", "playback.stopped", "expires")),
    "REVIEW_MISSING": ([("    review: privacy review PR-118\n", "")], ("signals", "playback.stopped")),
    "AUTHOR_MISSING": ([("author: ops@media.example", "author: ops")], ("release", "author")),
    "REASON_SHORT": (
        [("reason: first release, with personalized rows and the autoplay experiment", "reason: first")],
        ("release", "reason"),
    ),
    "KEY_ENDS": ([("until: 2029-01-01", "until: 2026-11-30")], ("aggregator", "keys")),
    "SENSITIVE_OFTEN": ([("window: 28d", "window: 6d"), EXHAUSTIBLE], ("metrics", "minutes", "window")),
    "SENSITIVE_UNASKED": ([("consent: opt-in", "consent: opt-out")], ("signals", "playback.stopped", "sensitivity")),
    "LIFETIME_HIGH": ([("lifetime: 120.0", "lifetime: 120.5")], ("budget", "lifetime")),
    "FINGERPRINT": ([("by: [experiments]", "by: [experiments, platform]")], ("metrics", "minutes", "by")),
    "IDENTIFYING": (
        [("[news, drama, sport, music, other]", f"[{MANY_VALUES}]")],
        ("signals", "playback.stopped", "fields", "genre", "values"),
    ),
    "SENDER_UNKNOWN": ([("lateness: 2h\n", "lateness: 2h\nsenders: {app: {flags: [rows]}}\n")], ("senders", "app")),
    "FEATURE_OUTLIVES": ([("ttl: 28d", "ttl: 31d")], ("features", "top_genres")),
    "MIN_DEVICES_LOW": ([("min_devices: 1000", "min_devices: 19")], ("metrics", "minutes", "min_devices")),
    "NEVER_SHOWN": (
        [("devices: 1000000", "devices: 9999")],
        ("metrics", "main_genre", "min_devices"),
    ),
    "INTERVAL_WIDE": ([("effect: 30", "effect: 3")], (*EXPERIMENT, "effect")),
    "UNIT_MISSING": ([("{divide: 60, unit: min}", "{divide: 60}")], ("metrics", "minutes")),
    "SERIES_SHORT": ([EXHAUSTIBLE, ("lifetime: 120.0", "lifetime: 11.9")], ("metrics", "minutes", "epsilon")),
    "ELIGIBLE_BY_OUTCOME": (
        [("effect: 30\n", 'effect: 30\n    eligible: {">": [{var: features.minutes_7d}, 60]}\n')],
        (*EXPERIMENT, "eligible"),
    ),
    "EXPOSURE_MISSING": ([("kind: exposure", "kind: context")], (*EXPERIMENT, "primary")),
    "SALT_SHORT": ([("salt: autoplay-2027-r7qk", "salt: r7qk")], (*EXPERIMENT, "salt")),
    "SALT_SHARED": ([], ("experiments", "second", "salt")),
    "HYPOTHESIS_SHORT": (
        [
            (
                (
                    "hypothesis: In living rooms, autoplay adds thirty minutes of playback in four weeks, "
                    "from the first window on."
                ),
                "hypothesis: More playback.",
            )
        ],
        (*EXPERIMENT, "hypothesis"),
    ),
    "GUARDRAIL_MISSING": ([("    guardrails: [crashed]\n", "")], EXPERIMENT),
    "EFFECT_MISSING": ([("    effect: 30\n", "")], EXPERIMENT),
    "EXPERIMENT_OVER": (
        [("start: 2027-07-29", "start: 2026-01-01"), ("end: 2027-12-16", "end: 2026-11-01")],
        (*EXPERIMENT, "end"),
    ),
    "EXPERIMENT_SHORT": ([("end: 2027-12-16", "end: 2027-08-25")], (*EXPERIMENT, "end")),
    "EXPERIMENT_LONG": ([("end: 2027-12-16", "end: 2028-07-30")], (*EXPERIMENT, "end")),
    "EXPERIMENT_COSTLY": ([("end: 2027-12-16", "end: 2028-07-01")], EXPERIMENT),
    "INERT": ([(", release by release", "")], ("expected_devices",)),
    "SIGNAL_UNREAD": ([("kind: exposure", "kind: context")], ("signals", "autoplay.shown")),
    "FIELD_UNREAD": (
        [("      evening: {type", "      title: {type: boolean}\n      evening: {type")],
        ("signals", "playback.stopped", "fields", "title"),
    ),
    "METRIC_UNREAD": ([("    guardrails: [crashed]\n", "")], ("metrics", "crashed", "by")),
    "WEIGHT_ZERO": ([("evenings: 0.2", "evenings: 0")], ("scores", "binge", "weights", "evenings")),
    "TTL_SHORT": ([("ttl: 14d", "ttl: 6d")], ("features", "minutes_7d", "ttl")),
    "VERSION_UNMOVED": ([("accepts: [1-0-0]", "accepts: [1-0-0, 1-1-0]")], ("signals", "playback.stopped", "accepts")),
    "KILLED": ([("lateness: 2h\n", "lateness: 2h\nkill: {flags: [rows]}\n")], ("kill",)),
    "EXHAUSTIBLE_NEEDLESS": ([EXHAUSTIBLE], ("budget", "exhaustible")),
    "UNSTABLE_SEGMENT": (
        [(', until: {"<": [{var: minutes_7d}, 28800]}, min_stay: 1d', "")],
        ("segments", "binge"),
    ),
    "NAMES_ALIKE": ([("top_genres:", "minutes_7_d:")], ("features", "minutes_7_d")),
}
TRIGGERS = FLIGHTS_TRIGGERS | MEDIA_TRIGGERS
INERT_MEANT = "  INERT: the aggregator learns to alert on more reporters than expected with the next release\n"


def clean(*edits):
    """A policy without any finding or suppression, then edited."""
    return changed(edited(*FITS_FOR_GOOD), edits)


def changed(text, edits):
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return build_policy(parsed(text))


def triggered(rule, suppressed=""):
    """The policy that breaks `rule`, with `suppressed` lines under `suppress`."""
    if rule in FLIGHTS_TRIGGERS:
        edit, _ = FLIGHTS_TRIGGERS[rule]
        edits = [edit, ("suppress: {}", f"suppress:\n{suppressed}" if suppressed else "suppress: {}")]
        return clean(*edits)
    edits, _ = MEDIA_TRIGGERS[rule]
    text = MEDIA.read_text(encoding="utf-8")
    if rule == "INERT":
        kept = f"suppress:\n{suppressed}" if suppressed else "suppress: {}\n"
        return changed(text, [(f"suppress:\n{INERT_MEANT}", kept)])
    if rule == "SALT_SHARED":
        body = text.split("  autoplay-2027:\n")[1].split("guards:\n")[0]
        edits = [("guards:\n", f"  second:\n{body}guards:\n")]
    return changed(text, [("suppress:\n", f"suppress:\n{suppressed}"), *edits])


def of_rule(rule, findings):
    return [finding for finding in findings if finding.rule == rule]


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
    """First of all where the policy was edited; a change to the plain policy breaks no other rule."""
    _, path = TRIGGERS[rule]
    found = lint_policy(triggered(rule), TODAY)

    assert of_rule(rule, found)[0].path == path
    if rule in FLIGHTS_TRIGGERS:
        assert {finding.rule for finding in found} == {rule}


@pytest.mark.parametrize("rule", TRIGGERS)
def test_a_suppression_with_a_reason_silences_its_rule(rule):
    """The reason stands in the policy, for the auditor; other findings stay."""
    before = lint_policy(triggered(rule), TODAY)
    after = lint_policy(triggered(rule, f"  {rule}: looked at and accepted\n"), TODAY)

    assert after == [finding for finding in before if finding.rule != rule]


@pytest.mark.parametrize("rule", TRIGGERS)
def test_a_suppression_without_words_is_itself_reported(rule):
    """`ok` is not a reason."""
    found = lint_policy(triggered(rule, f"  {rule}: ok\n"), TODAY)

    assert [f.path for f in of_rule("UNEXPLAINED_SUPPRESSION", found)] == [("suppress", rule)]
    assert of_rule(rule, found) == []


@pytest.mark.parametrize("rule", [*TRIGGERS, "NO_SUCH_RULE"])
def test_a_suppression_that_silences_nothing_is_reported(rule):
    """Old exceptions do not linger."""
    found = lint_policy(clean(("suppress: {}", f"suppress: {{{rule}: looked at and accepted}}")), TODAY)

    assert [(f.rule, f.path, f.on_key) for f in found] == [("UNUSED_SUPPRESSION", ("suppress", rule), True)]


@pytest.mark.parametrize("example", [FLIGHTS, HOST, MEDIA], ids=lambda path: path.stem)
def test_the_examples_are_clean(example):
    """What we hand out passes its own lints, for a year after it was written."""
    policy = load_policy(example)

    assert lint_policy(policy, TODAY) == []
    assert lint_policy(policy, date(2027, 10, 31)) == []


def test_a_verdict_depends_on_the_day_it_is_asked_for():
    """`today` is an argument, so a verdict can be repeated."""
    assert "EXPIRED" not in {f.rule for f in lint_policy(built(), date(2027, 12, 31))}
    assert "EXPIRED" in {f.rule for f in lint_policy(built(), date(2028, 1, 1))}


@pytest.mark.parametrize(
    "condition",
    ["{in: [binge, {var: segments}]}", "{var: segments.binge}", '{">": [{var: scores.binge}, 1]}', "{var: minutes_7d}"],
)
def test_who_is_eligible_is_followed_to_the_signal(condition):
    """Through segments and scores: devices picked by what is measured differ by it already."""
    text = MEDIA.read_text(encoding="utf-8")
    policy = changed(text, [("effect: 30\n", f"effect: 30\n    eligible: {condition}\n")])

    assert {finding.rule for finding in lint_policy(policy, TODAY)} == {"ELIGIBLE_BY_OUTCOME"}
