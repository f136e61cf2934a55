"""What apps are told on a real device: segments, flags, pins, guards, arms; over restarts, policies, the owner's no."""

import json

import pytest

from device_bench import Bench
from discreet_agent.consent import Word, write_word
from discreet_agent.personal.apps import Exposure, Seen
from discreet_agent.personal.values import Failure, FlagError, Reason
from discreet_agent.senders import ANYONE, Speaker
from discreet_agent.steps.purge import Purge
from discreet_contract.clock import ManualClock
from discreet_contract.errors import ConfigError
from personal_bench import FEATURES, NOW, NOW_MS, crashed, personal_policy, played, record

DAY = 86_400
PARTS = """
scores:
  keen: {kind: linear, bias: 1.0, weights: {seconds: 0.5, mean: 2.0}, fallbacks: {mean: 10}}
segments:
  binge: {when: {">": [{var: seconds}, 3000]}, until: {"<": [{var: seconds}, 1000]}, min_stay: 1h}
flags:
  rows:
    state: ENABLED
    variants: {editorial: editorial, personal: personal}
    defaultVariant: editorial
    targeting: {if: [{in: [binge, {var: segments}]}, personal, editorial]}
  plain: {state: ENABLED, variants: {"on": true, "off": false}, defaultVariant: "on"}
  autoplay:
    state: ENABLED
    variants: {"on": true, "off": false}
    defaultVariant: "off"
    targeting: {if: [{var: experiments.trial}, {var: experiments.trial}, "off"]}
layers: {playback: {holdout: 0%, why: nobody}}
experiments:
  trial:
    hypothesis: In tests, everybody takes part, and something moves by half within a day of the beginning.
    layer: playback
    algorithm: blake2b-1
    salt: trial-2023-x7qk
    arms: {"off": 50, "on": 50}
    traffic: 100%
    flag: autoplay
    start: 2023-11-01
    end: 2023-12-31
    primary: plays
    guardrails: [crashed]
    ELIGIBLE
guards:
  crashes: {from: app.crashed, flags: [rows], at_most: 2, window: 1h, why: in tests}
metrics:
  plays: {from: playback.stopped, per_device: any, type: binary, window: 1d, epsilon: 1.0, by: [experiments],
    owner: a@b.c, why: in tests}
  crashed: {from: app.crashed, per_device: any, type: binary, window: 1d, epsilon: 1.0, by: [experiments],
    owner: a@b.c, why: in tests}
"""


TWO = {name: FEATURES[name] for name in ("seconds", "mean")}
WHOLE = PARTS.replace("    ELIGIBLE\n", "")


def policy(*edits, **changes):
    rest = PARTS
    for old, new in edits:
        assert old in rest
        rest = rest.replace(old, new)
    rest = rest.replace("    ELIGIBLE\n", "")
    return personal_policy(**({"features": TWO, "rest": rest} | changes))


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, clock=ManualClock(NOW_MS), policy=policy())
    yield bench
    bench.close()


def opened(bench):
    device = bench.open()
    device.pipeline.personalize()
    return device


def variant(device, key, context=None):
    return device.pipeline.personal.evaluate(key, context or {}, ANYONE).variant


def test_a_flag_changes_with_the_event(bench):
    """No tick in between: what is committed is what the next question sees; entries and exits are on record."""
    device = opened(bench)
    assert variant(device, "rows") == "editorial"
    before = device.pipeline.personal.tag(ANYONE)
    record(device, played(NOW - 9, seconds=3500))
    assert variant(device, "rows") == "personal"
    assert device.pipeline.personal.tag(ANYONE) != before
    device.pipeline.personalize()
    [binge] = device.pipeline.personal.segments(ANYONE)
    assert (binge.is_inside, binge.since_ms) == (True, NOW_MS)
    assert [(move.what, move.subject) for move in device.store.personal.moves(9)] == [("ENTERED", "binge")]


def test_stays_outlive_restarts_and_policies_and_keep_their_minimum(bench):
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500, event_id="a"))
    device.pipeline.personalize()
    record(device, played(NOW, retracts="a"))
    device = opened(bench)
    bench.at(NOW + 1800)
    assert variant(device, "rows") == "personal"
    device.pipeline.adopt(policy(version=2))
    assert variant(device, "rows") == "personal"
    bench.at(NOW + 3700)
    device.pipeline.features.living.tick()
    bench.at(NOW + 3702)
    device.pipeline.personalize()
    assert variant(device, "rows") == "editorial"
    assert [move.what for move in device.store.personal.moves(9)] == ["LEFT", "ENTERED"]


def test_scores_take_their_fallbacks(bench):
    device = opened(bench)
    [keen] = device.pipeline.personal.scores(ANYONE)
    assert keen.value is None
    record(device, played(NOW - 3 * DAY, seconds=100))
    [keen] = device.pipeline.personal.scores(ANYONE)
    assert (keen.value, keen.fallbacks) == (1 + 50 + 20, ("mean",))


def test_an_app_cannot_speak_for_the_device(bench):
    """What it says of features, segments or experiments is not looked at."""
    device = opened(bench)
    assert variant(device, "rows", {"segments": ["binge"]}) == "editorial"
    arm = variant(device, "autoplay")
    assert variant(device, "autoplay", {"experiments": {"trial": "on" if arm == "off" else "off"}}) == arm


def test_scopes_hide_flags_and_what_they_are_made_of(bench):
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    app = Speaker("app", frozenset(), features=frozenset({"mean"}), segments=frozenset(), flags=frozenset({"rows"}))
    personal = device.pipeline.personal
    assert personal.evaluate("plain", {}, app) == Failure("plain", FlagError.FLAG_NOT_FOUND, "no such flag")
    assert [answer.key for answer in personal.evaluate_all({}, app)] == ["rows"]
    assert [value.name for value in personal.features(app)] == ["mean"]
    assert personal.segments(app) == []
    said = personal.explain("rows", {}, app)
    assert said["answer"]["variant"] == "personal"
    assert (said["features"], said["segments"]) == ([], [])
    assert personal.track([Exposure("autoplay")], app) == [Seen.FLAG_NOT_FOUND]


def test_explain_names_rule_values_versions(bench):
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    said = json.loads(json.dumps(device.pipeline.personal.explain("rows", {}, ANYONE)))
    assert said["rule"]["targeting"] == {"if": [{"in": ["binge", {"var": "segments"}]}, "personal", "editorial"]}
    assert said["policy"]["version"] == 1
    [seconds] = said["features"]
    assert (seconds["name"], seconds["value"], seconds["fallback"]) == ("seconds", 3500.0, "")
    assert len(seconds["version"]) == 16
    assert [segment["name"] for segment in said["segments"] if segment["inside"]] == ["binge"]


def test_the_owners_pin_holds_over_restarts_until_it_is_let_go(bench):
    device = opened(bench)
    pinning = device.pipeline.personal.pinning
    pinning.pin("rows", "personal", "a demonstration")
    assert variant(device, "rows") == "personal"
    device = opened(bench)
    answer = device.pipeline.personal.evaluate("rows", {}, ANYONE)
    assert (answer.variant, answer.reason, answer.metadata) == ("personal", Reason.STATIC, {"pinned": "owner"})
    device.pipeline.personal.pinning.unpin("rows")
    assert variant(device, "rows") == "editorial"
    with pytest.raises(ConfigError, match="is not pinned"):
        device.pipeline.personal.pinning.unpin("rows")
    with pytest.raises(ConfigError, match="no variant"):
        device.pipeline.personal.pinning.pin("rows", "loud", "")


def test_a_guard_reverts_a_flag_whose_change_breaks_things(bench):
    """Three crashes within the hour after rows became personal: editorial again, on record, also after a restart."""
    device = opened(bench)
    record(device, crashed(NOW - 60), crashed(NOW - 50), crashed(NOW - 40))
    record(device, played(NOW - 9, seconds=3500))
    device.pipeline.personalize()
    assert variant(device, "rows") == "personal"
    bench.at(NOW + 60)
    record(device, crashed(NOW + 30), crashed(NOW + 40))
    device.pipeline.personalize()
    assert variant(device, "rows") == "personal"
    record(device, crashed(NOW + 50))
    device.pipeline.personalize()
    device = opened(bench)
    answer = device.pipeline.personal.evaluate("rows", {}, ANYONE)
    assert (answer.variant, answer.metadata) == ("editorial", {"pinned": "crashes"})
    assert device.store.counters()["flags_reverted"] == {"crashes": 1}
    assert device.store.personal.moves(1)[0].what == "REVERTED"
    renewed = ("targeting: {if: [{in", "metadata: {renewed: true}\n    targeting: {if: [{in")
    device.pipeline.adopt(policy(renewed, version=2))
    assert variant(device, "rows") == "personal"


def test_a_new_definition_that_breaks_things_gives_the_old_value_again(bench):
    device = opened(bench)
    device.pipeline.adopt(policy(("{editorial: editorial, ", "{editorial: renewed, "), version=2))
    device.pipeline.personalize()
    bench.at(NOW + 60)
    record(device, crashed(NOW + 30), crashed(NOW + 40), crashed(NOW + 50))
    device.pipeline.personalize()
    assert device.pipeline.personal.evaluate("rows", {}, ANYONE).value == "editorial"


def test_kill_switches_give_defaults(bench):
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    device.pipeline.adopt(policy(version=2, rest=WHOLE + "kill: {flags: [rows]}\n"))
    assert variant(device, "rows") == "editorial"
    device.pipeline.adopt(policy(version=3, rest=WHOLE + "kill: {personalization: true}\n"))
    assert variant(device, "autoplay") == "off"
    assert device.pipeline.personal.features(ANYONE) == []
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.OFF]


def test_a_kill_switch_is_stronger_than_a_pin(bench):
    device = opened(bench)
    device.pipeline.personal.pinning.pin("rows", "personal", "a demonstration")
    device.pipeline.adopt(policy(version=2, rest=WHOLE + "kill: {flags: [rows]}\n"))
    assert variant(device, "rows") == "editorial"
    with pytest.raises(ConfigError, match="killed"):
        device.pipeline.personal.pinning.pin("rows", "personal", "again")
    device.pipeline.adopt(policy(version=3))
    assert variant(device, "rows") == "personal"


def test_no_guard_brings_back_what_was_killed(bench):
    """Crashes that go on after a kill are no reason to give the killed variant again, then or later."""
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    bench.at(NOW + 5 * 3600)
    device.pipeline.personalize()
    device.pipeline.adopt(policy(version=2, rest=WHOLE + "kill: {flags: [rows]}\n"))
    device.pipeline.personalize()
    bench.at(NOW + 5 * 3600 + 60)
    record(device, *(crashed(NOW + 5 * 3600 + 30 + second) for second in range(5)))
    device.pipeline.personalize()
    assert variant(device, "rows") == "editorial"
    assert device.pipeline.personal.pinning.pins() == {}


def test_reports_without_end_fill_the_number_and_not_the_store(bench):
    device = opened(bench)
    device.pipeline.personal.track([Exposure("autoplay")], ANYONE)
    [row] = device.pipeline.trials._repeats
    for _ in range(3):
        device.store.exposures.count(*row, 2**53 - 1)
        device.store.exposures.count(*row, 2**63 - 2**53)
    [trial] = device.pipeline.personal.experiments()
    assert trial["exposures"][0]["reports"] == 2**53 - 1


def test_no_guard_gives_again_what_was_disabled(bench):
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    device.pipeline.personalize()
    bench.at(NOW + 5 * 3600)
    device.pipeline.adopt(policy(("rows:\n    state: ENABLED", "rows:\n    state: DISABLED"), version=2))
    device.pipeline.personalize()
    bench.at(NOW + 5 * 3600 + 60)
    record(device, *(crashed(NOW + 5 * 3600 + 30 + second) for second in range(5)))
    device.pipeline.personalize()
    assert device.pipeline.personal.evaluate("rows", {}, ANYONE).reason is Reason.DISABLED
    assert device.pipeline.personal.pinning.pins() == {}


@pytest.mark.parametrize("salt", ["trial-2023-x7qk", "trial-2023-a1bc", "trial-2023-d2ef", "trial-2023-g3hi"])
def test_no_guard_puts_a_device_back_into_an_arm_of_a_killed_experiment(bench, salt):
    """Whichever arm it is: in half of the cases it gave something else than the default."""
    rest = WHOLE.replace("flags: [rows]", "flags: [rows, autoplay]").replace("trial-2023-x7qk", salt)
    bench.policy = policy(rest=rest)
    device = opened(bench)
    bench.at(NOW + 5 * 3600)
    device.pipeline.adopt(policy(rest=rest + "kill: {experiments: [trial]}\n", version=2))
    device.pipeline.trials.tick()
    device.pipeline.personalize()
    bench.at(NOW + 5 * 3600 + 60)
    record(device, *(crashed(NOW + 5 * 3600 + 30 + second) for second in range(5)))
    device.pipeline.personalize()
    assert variant(device, "autoplay") == "off"


@pytest.mark.parametrize("kill", [False, True], ids=["pinned", "killed"])
def test_what_was_met_of_a_held_flag_is_no_exposure_to_an_arm(bench, kill):
    """The app says that it acted on the flag; what it acted on was the pin's or the kill's variant."""
    device = opened(bench)
    if kill:
        device.pipeline.adopt(policy(version=2, rest=WHOLE + "kill: {flags: [autoplay]}\n"))
    else:
        device.pipeline.personal.pinning.pin("autoplay", "on", "a demonstration")
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.NO_EXPERIMENT]
    assert device.store.exposures.known() == set()


def test_an_explanation_for_an_app_is_silent_about_flags_and_words_of_others(bench):
    """Not the experiments of flags it may not read, nor what the owner or a guard said of a pin."""
    reading = (
        'defaultVariant: "on"}',
        'defaultVariant: "on", targeting: {if: [{var: experiments.trial}, "on", "off"]}}',
    )
    bench.policy = policy(reading)
    device = opened(bench)
    app = Speaker("app", frozenset(), flags=frozenset({"plain"}))
    device.pipeline.personal.pinning.pin("plain", "off", "my own words")
    said = device.pipeline.personal.explain("plain", {}, app)
    assert said["pinned"]["variant"] == "off"
    for word in ("my own words", "trial", "autoplay"):
        assert word not in json.dumps(said)
    whole = device.pipeline.personal.explain("plain", {}, ANYONE)
    assert whole["pinned"]["reason"] == "my own words"
    assert [trial["flag"] for trial in whole["experiments"]] == ["autoplay"]


def test_an_arm_that_hidden_features_withhold_is_not_explained(bench):
    """Enrolled, and yet without the arm: that would tell whether the device is eligible."""
    eligible = ("ELIGIBLE", 'eligible: {">": [{var: seconds}, 100]}')
    bench.policy = policy(eligible)
    device = opened(bench)
    hidden = device.pipeline.personal.explain(
        "autoplay", {}, Speaker("app", frozenset(), flags=frozenset({"autoplay"}))
    )
    assert hidden["experiments"] == []
    assert hidden["rule"]["targeting"] is None
    both = Speaker("app", frozenset(), features=frozenset({"seconds"}), flags=frozenset({"autoplay"}))
    assert [trial["name"] for trial in device.pipeline.personal.explain("autoplay", {}, both)["experiments"]] == [
        "trial"
    ]


def test_a_flag_that_the_owner_lets_go_is_not_reverted_for_the_same_events_again(bench):
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    device.pipeline.personalize()
    bench.at(NOW + 60)
    record(device, *(crashed(NOW + 30 + second) for second in range(5)))
    device.pipeline.personalize()
    assert variant(device, "rows") == "editorial"
    device.pipeline.personal.pinning.unpin("rows")
    device.pipeline.personalize()
    assert variant(device, "rows") == "personal"
    device = opened(bench)
    assert variant(device, "rows") == "personal"
    bench.at(NOW + 120)
    record(device, *(crashed(NOW + 90 + second) for second in range(5)))
    device.pipeline.personalize()
    assert variant(device, "rows") == "editorial"


def test_an_explanation_while_off_says_nothing_of_arms_exposures_and_pins(bench):
    bench.policy = policy(consent="opt-in")
    write_word(bench.folder, Word("on", NOW_MS - 1))
    device = opened(bench)
    device.pipeline.personal.track([Exposure("autoplay")], ANYONE)
    device.pipeline.personal.pinning.pin("autoplay", "on", "mine")
    assert device.pipeline.personal.explain("autoplay", {}, ANYONE)["pinned"]
    write_word(bench.folder, Word("off", NOW_MS))
    bench.at(NOW + 10)
    said = device.pipeline.personal.explain("autoplay", {}, ANYONE)
    assert said["off"]
    assert said["experiments"] == []
    assert "pinned" not in said


def test_off_tells_nothing_of_the_device_and_writes_nothing(bench):
    bench.policy = policy(consent="opt-in")
    write_word(bench.folder, Word("on", NOW_MS - 1))
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    assert variant(device, "rows") == "personal"
    device.pipeline.personalize()
    write_word(bench.folder, Word("off", NOW_MS))
    before = device.store.connection.total_changes
    bench.at(NOW + 10)
    device.pipeline.personalize()
    assert variant(device, "rows") == "editorial"
    assert device.pipeline.personal.features(ANYONE) == device.pipeline.personal.segments(ANYONE) == []
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.OFF]
    assert device.store.connection.total_changes == before


def test_opting_out_leaves_experiments_for_good(bench):
    bench.policy = policy(consent="opt-in")
    write_word(bench.folder, Word("on", NOW_MS - 1))
    device = opened(bench)
    [trial] = device.pipeline.personal.experiments()
    assert trial["standing"] == "ENROLLED"
    bench.at(NOW + 10)
    write_word(bench.folder, Word("off", NOW_MS + 5000))
    device.pipeline.personalize()
    assert device.pipeline.personal.experiments()[0]["standing"] == "OFF"
    write_word(bench.folder, Word("on", NOW_MS + 10_000, refused_ms=NOW_MS + 5000))
    device.pipeline.personalize()
    for open_it in (lambda: device, lambda: opened(bench)):
        again = open_it()
        [trial] = again.pipeline.personal.experiments()
        assert trial["standing"] == "OPTED_OUT"
        assert variant(again, "autoplay") == "off"


def test_an_exposure_is_noted_once_a_phase_and_an_evaluation_never(bench):
    device = opened(bench)
    arm = variant(device, "autoplay")
    personal = device.pipeline.personal
    other = "on" if arm == "off" else "off"
    asked = [Exposure("autoplay", arm), Exposure("autoplay", None, 3), Exposure("autoplay", other), Exposure("rows")]
    assert personal.track(asked, ANYONE) == [Seen.NOTED, Seen.KNOWN, Seen.OTHER_VARIANT, Seen.NO_EXPERIMENT]
    device.pipeline.write_refusals()
    [exposure] = personal.experiments()[0]["exposures"]
    assert (exposure["arm"], exposure["reports"]) == (arm, 4)
    device = opened(bench)
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.KNOWN]


def test_eligibility_acts_on_the_device_and_leaves_the_arm_on_reports(bench):
    """Who is not eligible sees the default; the report carries the arm all the same."""
    bench.policy = policy(("ELIGIBLE", 'eligible: {">": [{var: seconds}, 3000]}'))
    device = opened(bench)
    assert variant(device, "autoplay") == "off"
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.NO_EXPERIMENT]
    arm = device.pipeline.trials.arms()["trial"]
    record(device, played(NOW - 9, seconds=3500))
    assert variant(device, "autoplay") == arm
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.NOTED]
    assert device.pipeline.trials.arm_throughout("trial", NOW_MS // 1000 + 1, NOW_MS // 1000 + DAY) == arm


@pytest.mark.parametrize(
    "rule",
    ['{"<": [{var: mean}, 5000]}', "{in: [binge, {var: segments}]}", "{var: segments.binge}", "{$ref: many}"],
)
def test_eligibility_reads_what_is_known_and_nothing_else(bench, rule):
    """A mean of nothing is not below five thousand; segments count by path and as a list; shared conditions hold."""
    shared = ("scores:\n", 'evaluators: {many: {">": [{var: seconds}, 3000]}}\nscores:\n')
    bench.policy = policy(("ELIGIBLE", f"eligible: {rule}"), shared)
    device = opened(bench)
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.NO_EXPERIMENT]
    record(device, played(NOW - 9, seconds=3500))
    assert device.pipeline.personal.track([Exposure("autoplay")], ANYONE) == [Seen.NOTED]


def test_an_announced_experiment_begins_on_its_day(bench):
    bench.policy = policy(("start: 2023-11-01", "start: 2023-11-25"))
    device = opened(bench)
    [trial] = device.pipeline.personal.experiments()
    assert (trial["standing"], variant(device, "autoplay")) == ("NOT_BEGUN", "off")
    start = 1_700_870_400  # 2023-11-25
    assert trial["since_ms"] == start * 1000
    bench.at(start + 1)
    assert device.pipeline.personal.experiments()[0]["standing"] == "ENROLLED"
    assert device.pipeline.trials.arm_throughout("trial", start, start + DAY) == trial["arm"]
    bench.at(1_703_980_800)  # 2023-12-31
    assert device.pipeline.personal.experiments()[0]["standing"] == "ENDED"
    assert variant(device, "autoplay") == "off"


def test_a_killed_experiment_stays_left(bench):
    device = opened(bench)
    killed = WHOLE + "kill: {experiments: [trial]}\n"
    device.pipeline.adopt(policy(version=2, rest=killed))
    device.pipeline.personalize()
    assert variant(device, "autoplay") == "off"
    device.pipeline.adopt(policy(version=3))
    device.pipeline.personalize()
    assert device.pipeline.personal.experiments()[0]["standing"] == "KILLED"
    assert device.pipeline.trials.arms() == {}


def test_reports_carry_the_arm_of_whole_windows(bench):
    """The day on which the device was enrolled does not, the next one does."""
    device = opened(bench)
    arm = device.pipeline.trials.arms()["trial"]
    device.pipeline.close_windows()
    closing = device.pipeline._closing
    whole = (NOW_MS // 1000 // DAY + 1) * DAY
    seen = [closing._dimensions(closing._plans["plays"], start) for start in (whole - DAY, whole)]
    assert seen == [(), (("experiments.trial", arm),)]


def test_a_purge_of_everything_forgets_what_events_had_a_part_in(bench):
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    device.pipeline.personalize()
    device.pipeline.personal.track([Exposure("autoplay")], ANYONE)
    device.pipeline.personal.pinning.pin("plain", "off", "mine")
    device.pipeline.purge(Purge())
    assert variant(device, "rows") == "editorial"
    assert variant(device, "plain") == "off"
    for table in ("segments", "moves", "exposures", "feature_states", "flag_marks"):
        assert device.store.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608
    assert device.pipeline.trials.arms()


def test_whoever_listens_is_told_of_changes_only(bench):
    device = opened(bench)
    told = []
    end = device.pipeline.personal.on_change(lambda: told.append(1))
    device.pipeline.personalize()
    assert told == []
    record(device, played(NOW - 9, seconds=3500))
    device.pipeline.personalize()
    assert told == [1]
    end()
    device.pipeline.personal.pinning.pin("plain", "off", "")
    device.pipeline.personalize()
    assert told == [1]


def test_a_purge_of_everything_lets_go_what_a_guard_holds(bench):
    """It came of events that are gone; at once, not at the next start."""
    device = opened(bench)
    record(device, played(NOW - 9, seconds=3500))
    device.pipeline.personalize()
    bench.at(NOW + 60)
    record(device, crashed(NOW + 30), crashed(NOW + 40), crashed(NOW + 50))
    device.pipeline.personalize()
    assert device.pipeline.personal.evaluate("rows", {}, ANYONE).metadata == {"pinned": "crashes"}
    device.pipeline.purge(Purge())
    assert device.pipeline.personal.evaluate("rows", {}, ANYONE).metadata == {}
