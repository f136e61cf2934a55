"""What may follow the last release, and what may not."""

from datetime import date

import msgspec
import pytest

from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.gate import Circumstances, release_problems, rolled_back
from discreet_contract.policy.schemaver import Bump, bump_made
from policies import EXHAUSTIBLE, MEDIA, built, edited, parsed


def changed(*edits):
    """The flights policy with edits, whatever they cost."""
    return built(EXHAUSTIBLE, *edits)


OLD = built(EXHAUSTIBLE)
TWO = ("version: 1\n", "version: 2\n")
MIGRATION = ("  reason: first", "  migration: emitters send the new form\n  reason: first")
SWF = (", LGA]", ", LGA, SWF]")
RAISED = ("version: 1-0-0", "version: 1-0-1")
REVISED = ("version: 1-0-0", "version: 1-1-0")
MODEL = ("version: 1-0-0", "version: 2-0-0")
RENAMED = ("  main_origin:", "  main_airport:")
CHEAPER = ("per_365_days: 42.0", "per_365_days: 40.0")


def rules(old, *edits, signatures=("aa",), **more):
    return [problem.rule for problem in release_problems(old, changed(*edits), Circumstances(signatures, **more))]


CASES = [
    ((TWO,), []),
    ((), ["VERSION"]),
    ((("version: 1\n", "version: 3\n"),), ["VERSION"]),
    ((TWO, ("fleet: flights", "fleet: hosts")), ["FLEET", "MIGRATION"]),
    ((TWO, ("author: ops@flights.example", "author: ''")), ["RELEASE_NOTE"]),
    ((TWO, ("reason: first", "reason: ' ' # first")), ["RELEASE_NOTE"]),
    ((TWO, ("max: 1440", "max: 2880")), ["SCHEMAVER_REUSED"]),
    ((TWO, ("max: 1440", "max: 2880"), RAISED), ["SCHEMAVER"]),
    ((TWO, ("max: 1440", "max: 2880"), REVISED), []),
    ((TWO, ("max: 1440", "max: 720"), REVISED, MIGRATION), ["SCHEMAVER"]),
    ((TWO, ("max: 1440", "max: 720"), MODEL), ["MIGRATION"]),
    ((TWO, ("max: 1440", "max: 720"), MODEL, MIGRATION), []),
    ((TWO, SWF, RAISED, MIGRATION), ["METRIC_FROZEN"]),
    ((TWO, SWF, RAISED, MIGRATION, RENAMED), []),
    ((TWO, RENAMED), ["MIGRATION"]),
    ((TWO, ("epsilon: 1.0", "epsilon: 0.5"), MIGRATION), ["METRIC_FROZEN"]),
    ((TWO, ("display: {unit: share of aircraft}", "display: {unit: share}")), []),
]


@pytest.mark.parametrize(("edits", "expected"), CASES)
def test_each_rule_has_its_case(edits, expected):
    assert rules(OLD, *edits) == expected


def test_the_first_release_is_version_one_and_signed():
    assert rules(None) == []
    assert rules(None, TWO) == ["VERSION"]
    assert rules(None, signatures=()) == ["SIGNATURE"]


def test_a_dearer_policy_takes_a_second_person():
    """Two signatures by one key are one person."""
    cheap = changed(CHEAPER)

    assert rules(cheap, TWO) == ["REVIEWER"]
    assert rules(cheap, TWO, signatures=("aa", "aa")) == ["REVIEWER"]
    assert rules(cheap, TWO, signatures=("aa", "bb")) == []
    assert rules(cheap, TWO, threshold=2.0) == []
    assert rules(cheap, TWO, threshold=1.9) == ["REVIEWER"]


def test_a_newly_sensitive_signal_takes_a_second_person_whatever_it_costs():
    assert rules(OLD, TWO, ("interaction", "sensitive")) == []  # only its label: nothing regresses
    edits = (TWO, ("interaction", "sensitive"), ("retention: 35d", "retention: 36d"))
    assert rules(OLD, *edits, threshold=100.0) == ["REVIEWER"]


def test_an_id_never_comes_back_with_another_meaning():
    """Removed in version 2, redefined in version 3: judged against version 1."""
    second = changed(TWO, RENAMED)
    third = (("version: 1\n", "version: 3\n"), ("{most_frequent: origin}", "{last: origin}"), MIGRATION)

    assert rules(second, *third) == []
    assert rules(second, *third, earlier=[OLD]) == ["METRIC_FROZEN"]


def test_a_rollback_is_a_new_version_with_old_content():
    second = changed(TWO, ("max: 1440", "max: 2880"), REVISED)
    back = rolled_back(OLD, second, author="a", reason="r")

    assert back.version == 3
    assert back.signals == OLD.signals
    assert release_problems(second, back, Circumstances(["aa"], earlier=[OLD])) == []


def test_every_problem_names_its_rule_and_place():
    [problem] = release_problems(OLD, changed(TWO, RENAMED), Circumstances(["aa"]))

    assert str(problem).startswith("MIGRATION release.migration: say what others must do")


def test_a_released_policy_is_never_changed_by_the_judgement():
    before = msgspec.json.encode(OLD)
    rules(OLD, TWO, SWF)
    assert msgspec.json.encode(OLD) == before


@pytest.mark.parametrize(
    ("old", "new", "bump"),
    [
        ("1-0-0", "1-0-0", Bump.NONE),
        ("1-0-9", "1-0-10", Bump.ADDITION),
        ("1-0-9", "1-1-0", Bump.REVISION),
        ("1-9-9", "2-0-0", Bump.MODEL),
        ("2-0-0", "1-9-9", None),
    ],
)
def test_versions_rise_part_by_part(old, new, bump):
    assert bump_made(old, new) is bump


# --- experiments and cohorts

ELIGIBLE = ("    effect: 30\n", "    effect: 30\n    eligible: {'>': [{var: segments.binge}, 0]}\n")
HARMLESS = ("  reason: first", "  migration: nothing to do\n  reason: first")
DURING, BEFORE, AFTER = date(2027, 8, 1), date(2027, 7, 28), date(2027, 12, 16)


def media(*edits):
    return build_policy(parsed(edited(*edits, path=MEDIA)))


MEDIA_OLD = media()


def media_rules(old, *edits, today=DURING):
    new = media(("version: 1\n", "version: 2\n"), HARMLESS, *edits)
    problems = release_problems(old, new, Circumstances(["aa", "bb"], today=today))
    return [(problem.rule, *problem.path) for problem in problems]


@pytest.mark.parametrize(
    "edit",
    [
        ("salt: autoplay-2027-r7qk", "salt: autoplay-2027-r7qx"),
        ('{"off": 50, "on": 50}', '{"off": 60, "on": 40}'),
        ("end: 2027-12-16", "end: 2028-01-13"),
        ("kiosk]", "tablet]"),
        ("thirty minutes", "forty minutes"),
    ],
)
def test_a_released_experiment_keeps_its_definition(edit):
    """Salt, arms, dates, enrolment, hypothesis; who owns it may change."""
    assert media_rules(MEDIA_OLD, edit) == [("EXPERIMENT_FROZEN", "experiments", "autoplay-2027")]
    assert media_rules(MEDIA_OLD, ("owner: media-team@media.example\nguards", "owner: a@media.example\nguards")) == []


def test_traffic_may_rise_and_never_fall():
    """A ramp re-assigns nobody."""
    traffic = ("EXPERIMENT_TRAFFIC", "experiments", "autoplay-2027", "traffic")

    assert media_rules(MEDIA_OLD, ("traffic: 20%", "traffic: 30%")) == []
    assert media_rules(MEDIA_OLD, ("traffic: 20%", "traffic: 10%")) == [traffic]


SECOND = """  colours-2027:
    hypothesis: In living rooms, coloured rows add ten minutes of playback in four weeks, from the first window on.
    layer: playback
    algorithm: blake2b-1
    salt: colours-2027-w3hd
    arms: {editorial: 50, personal: 50}
    traffic: 20%
    flag: rows
    start: 2027-07-01
    end: 2027-12-16
    primary: minutes
    guardrails: [crashed]
    effect: 30
guards:
"""


def test_nobody_moves_because_another_experiment_came():
    """One with an earlier start would take the lowest positions; the message says which slots keep everybody in."""
    [(rule, *path)] = media_rules(MEDIA_OLD, ("guards:\n", SECOND))
    assert (rule, path) == ("EXPERIMENT_MOVED", ["experiments", "autoplay-2027", "slots"])
    slots = ("traffic: 20%\n    flag: autoplay", 'traffic: 20%\n    slots: ["0%-20%"]\n    flag: autoplay')
    assert media_rules(MEDIA_OLD, slots, ("guards:\n", SECOND)) == []


def test_a_ramp_takes_nobody_from_another_experiment():
    """It grows into what is free; where its lowest positions would be another's, it is told to write its slots."""
    later = SECOND.replace("start: 2027-07-01", "start: 2027-08-01")
    old = media(("guards:\n", later))
    grown = ("traffic: 20%\n    flag: autoplay", "traffic: 30%\n    flag: autoplay")
    new = media(("version: 1\n", "version: 2\n"), HARMLESS, ("guards:\n", later), grown)
    problems = release_problems(old, new, Circumstances(["aa", "bb"], today=date(2027, 9, 1)))
    assert [(problem.rule, problem.path[1]) for problem in problems] == [("EXPERIMENT_MOVED", "colours-2027")]
    assert 'write `slots: ["20%-40%"]`' in problems[0].message


def test_holdouts_stay_while_an_experiment_runs():
    assert media_rules(MEDIA_OLD, ("holdout: 5%", "holdout: 6%")) == [
        ("HOLDOUT_FROZEN", "layers", "playback", "holdout")
    ]
    assert media_rules(MEDIA_OLD, ("layers:\n", "holdout: 1%\nlayers:\n")) == [("HOLDOUT_FROZEN", "holdout")]
    assert media_rules(MEDIA_OLD, ("holdout: 5%", "holdout: 6%"), today=BEFORE) == []


def test_a_released_cohort_keeps_its_definition():
    """Its words may change."""
    edit = ("installed_until: 2028-01-01", "installed_until: 2028-02-01")
    assert media_rules(MEDIA_OLD, edit) == [("COHORT_FROZEN", "cohorts", "installed_2027")]
    assert media_rules(MEDIA_OLD, ("Devices of the second", "All devices of the second")) == []


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (('"off"]}\n  rows', '"on"]}\n  rows'), ("flags", "autoplay")),
        (("36000]}", "39600]}"), ("segments", "binge")),
        (("default: 0}", "default: 1}"), ("features", "minutes_7d")),
    ],
)
def test_what_a_running_experiment_rests_on_stays(edit, part):
    """Its flag, and through eligibility a segment and its feature; not before its start, nor after its end."""
    old = media(ELIGIBLE)

    assert media_rules(old, ELIGIBLE, edit) == [("EXPERIMENT_RUNNING", *part)]
    for day in (BEFORE, AFTER):
        assert media_rules(old, ELIGIBLE, edit, today=day) == []


def test_taking_a_running_experiment_out_for_a_version_frees_nothing():
    """It is judged against the last release that had it."""
    old = MEDIA_OLD
    without = msgspec.structs.replace(old, version=2, experiments={})
    back = media(("version: 1\n", "version: 3\n"), HARMLESS, ('"off"]}\n  rows', '"on"]}\n  rows'))
    problems = release_problems(without, back, Circumstances(["aa", "bb"], earlier=[old], today=DURING))

    assert "EXPERIMENT_RUNNING" in {problem.rule for problem in problems}


WIDER = ("max: 86400", "max: 90000"), ("version: 1-1-0\n    accepts: [1-0-0]", "version: 1-2-0\n    accepts: [1-1-0]")
LONGER = (("retention: 14d\n    fields", "retention: 15d\n    fields"),)


@pytest.mark.parametrize("edits", [WIDER, LONGER])
def test_what_its_features_see_of_a_signal_stays(edits):
    """A field that they read, and for how long events are kept."""
    assert ("EXPERIMENT_RUNNING", "signals", "playback.stopped") in media_rules(media(ELIGIBLE), ELIGIBLE, *edits)


def test_what_no_experiment_rests_on_may_change():
    """Another flag is nobody's arm."""
    assert media_rules(MEDIA_OLD, ("defaultVariant: editorial", "defaultVariant: personal")) == []


def test_a_retired_root_releases_nothing_more():
    """Devices that have followed the change would refuse it."""
    assert rules(OLD, TWO, signatures=("aa",), retired=("aa",)) == ["ROOT_RETIRED"]
    assert rules(OLD, TWO, signatures=("bb",), retired=("aa",)) == []


def test_only_a_root_of_the_log_releases():
    """Or devices that pin one could take nothing more from this log."""
    assert rules(OLD, TWO, signatures=("cc",), roots=("aa", "bb")) == ["ROOT_UNKNOWN"]
    assert rules(OLD, TWO, signatures=("cc", "bb"), roots=("aa", "bb")) == []
