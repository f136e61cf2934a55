"""Features of a real device: in the events' own transaction, over restarts, corrections, policies and time."""

import random

import pytest

from device_bench import Bench, MachineClock
from discreet_agent.personal.values import Fallback
from discreet_agent.steps.purge import Purge
from discreet_contract.clock import ManualClock
from discreet_contract.errors import RetryableError
from naive_features import naive_value
from personal_bench import FEATURES, NOW, NOW_MS, personal_policy, played, record

DAY = 86_400
_FROM = {"from": "playback.stopped"}


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path, clock=ManualClock(NOW_MS), policy=personal_policy())
    yield bench
    bench.close()


def read(device, name):
    return device.pipeline.features.read(name)


def _as_it_is_and_opened_again(bench, device):
    yield device
    yield bench.open()


def test_a_month_of_events_in_random_order_with_restarts(bench):
    """Every feature is what all events at once give, after a month came in shuffled, some of it retracted."""
    dice = random.Random(6)  # noqa: S311 - shuffles a test
    bench.policy = personal_policy(retention="40d")
    ages = sorted(dice.uniform(0, 30 * DAY) for _ in range(600))
    events = [
        played(
            NOW - age,
            event_id=str(number),
            genre=dice.choice(["news", "drama", "sport"]),
            seconds=dice.choice([dice.randrange(3600), dice.uniform(0, 3600)]),
            **({"evening": dice.random() < 0.3} if dice.random() < 0.7 else {}),
            **({"title": dice.choice("abcd")} if dice.random() < 0.5 else {}),
        )
        for number, age in enumerate(ages)
    ]
    gone = {str(number) for number in dice.sample(range(600), 60)}
    coming = [*events]
    dice.shuffle(coming)
    for begin in range(0, 600, 200):
        device = bench.open()
        for at in range(begin, begin + 200, 50):
            record(device, *coming[at : at + 50])
    record(device, *(played(NOW, retracts=number, event_id=f"r{number}") for number in gone))
    kept = [(event.time, event.fields) for event in events if event.id not in gone]
    for opened in _as_it_is_and_opened_again(bench, device):
        for name, feature in FEATURES.items():
            grid = opened.pipeline.features.definitions[name].grid
            expected = naive_value(feature, grid.width, grid.span, kept, NOW_MS, ("news", "drama", "sport"))
            tolerance = 0.0101 if "quantile" in feature else 1e-9
            value = read(opened, name).value
            assert value == (expected if isinstance(expected, str) else pytest.approx(expected, rel=tolerance))


def test_a_rebuilt_feature_equals_the_streamed_one(bench):
    device = bench.open()
    record(device, *(played(NOW - 3000 * n, seconds=n * 7 % 91, event_id=str(n)) for n in range(90)))
    streamed = {name: read(device, name).value for name in FEATURES}
    with device.store.transaction():
        device.store.connection.execute("DELETE FROM features")
        device.store.connection.execute("DELETE FROM feature_states")
    device = bench.open()
    assert {name: read(device, name).value for name in FEATURES} == streamed


def test_a_correction_asks_the_stored_events_again(bench):
    """The longest was a mistake: the longest of the others is read, though its bucket only knew one."""
    device = bench.open()
    record(device, played(NOW - 5, seconds=10), played(NOW - 4, seconds=3000, event_id="slip"), played(NOW - 3))
    assert read(device, "longest").value == 3000
    record(device, played(NOW, retracts="slip"))
    assert read(device, "longest").value == 60
    assert not read(device, "longest").is_partial


def test_a_correction_that_nothing_can_be_asked_about_is_flagged(bench):
    """Raw events live a day; the greatest of a week is known to miss a correction of what they would have told."""
    bench.policy = personal_policy(retention="1d")
    device = bench.open()
    record(device, played(NOW - 7200, seconds=10), played(NOW - 7100, seconds=3000, event_id="slip"))
    bench.at(NOW + 2 * DAY)
    device.pipeline.forget()
    [refused] = device.pipeline.record([played(NOW + 2 * DAY, retracts="slip")])
    assert refused.reason == "RETRACT_FORGOTTEN"
    assert read(device, "shortest").value == 10


def test_a_failed_commit_leaves_nothing_in_memory(bench):
    device = bench.open()
    record(device, played(NOW - 9))
    device.store.connection.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON counters BEGIN SELECT RAISE(ABORT, 'no room'); END"
    )
    with pytest.raises((RetryableError, Exception)):
        device.pipeline.record([played(NOW - 8), played(NOW - 7)])
    assert read(device, "plays").value == 1
    device.store.connection.execute("DROP TRIGGER full")
    record(device, played(NOW - 8))
    assert read(device, "plays").value == 2
    assert read(bench.open(), "plays").value == 2


def test_a_new_policy_builds_new_features_from_stored_events_and_forgets_old_ones(bench):
    bench.policy = personal_policy(features={"plays": FEATURES["plays"], "old": FEATURES["seconds"]})
    device = bench.open()
    record(device, played(NOW - 9), played(NOW - 8))
    newer = {"plays": FEATURES["plays"] | {"window": "2h"}, "idle": FEATURES["idle"]}
    device.pipeline.adopt(personal_policy(features=newer, version=2))
    assert read(device, "plays").value == 2
    assert read(device, "idle").value == 8.0
    assert {row[0] for row in device.store.connection.execute("SELECT feature FROM feature_states")} == {
        "plays",
        "idle",
    }
    receipts = {(receipt.subject, receipt.why) for receipt in device.store.deletions.latest(9)}
    assert receipts == {("old", "POLICY"), ("plays", "POLICY")}


def test_what_is_only_read_otherwise_keeps_its_buckets(bench):
    """Raw events are gone: a feature that is only ranked otherwise still knows them, a new one says what it lacks."""
    bench.policy = personal_policy(features={"top": FEATURES["top_genres"]}, retention="1d")
    device = bench.open()
    record(device, played(NOW - 9), played(NOW - 8, genre="drama"), played(NOW - 7, genre="sport"))
    bench.at(NOW + 2 * DAY)
    device.pipeline.forget()
    features = {"top": FEATURES["top_genres"] | {"top": 1}, "days": FEATURES["days"]}
    device.pipeline.adopt(personal_policy(features=features, version=2, retention="1d"))
    assert len(read(device, "top").value) == 1
    assert not read(device, "top").is_partial
    assert read(device, "days").fallback is Fallback.UNAVAILABLE
    record(device, played(NOW + 2 * DAY))
    assert (read(device, "days").value, read(device, "days").is_partial) == (1, True)


def test_a_purge_forgets_features_up_to_its_moment(bench):
    device = bench.open()
    record(device, played(NOW - 1000), played(NOW - 900), played(NOW - 10))
    device.pipeline.purge(Purge("playback.stopped", round((NOW - 500) * 1000)))
    assert read(device, "plays").value == 1
    device.pipeline.purge(Purge())
    assert device.store.connection.execute("SELECT count(*) FROM feature_states").fetchone() == (0,)
    assert read(device, "plays").fallback is Fallback.UNAVAILABLE
    record(device, played(NOW - 1))
    assert read(device, "plays").value == 1


def test_buckets_leave_the_disk_with_a_receipt_a_day(bench):
    """After its window a bucket is read by nobody, and deleted; a year's bucket stays."""
    device = bench.open()
    record(device, played(NOW - 100))
    bench.at(NOW + 3 * 3600)
    device.pipeline.forget()
    rows = {row[0] for row in device.store.connection.execute("SELECT feature FROM feature_states")}
    assert "plays" not in rows
    assert "seconds_year" in rows
    assert ("plays", "EXPIRED", 1) in {(d.subject, d.why, d.items) for d in device.store.deletions.latest(50)}


def test_without_an_event_for_its_ttl_a_feature_is_forgotten_on_disk(bench):
    feature = FEATURES["top_genres"] | {"ttl": "2d"}
    bench.policy = personal_policy(features={"top": feature})
    device = bench.open()
    record(device, played(NOW - 100))
    bench.at(NOW + DAY)
    assert list(read(device, "top").value) == ["news"]
    bench.at(NOW + 4 * DAY)
    assert read(device, "top").value is None
    device.pipeline.forget()
    assert device.store.connection.execute("SELECT count(*) FROM feature_states").fetchone() == (0,)


def test_gaps_are_explicit(bench):
    """No event and nobody watching: unknown, not zero. Watching: zero. The last known value, where that is wanted."""
    features = {
        "plays": _FROM | {"aggregate": "count", "window": "1h"},
        "crashes": FEATURES["plays"] | {"from": "app.crashed", "fallback": "default", "default": -1},
        "mean": _FROM
        | {"aggregate": "mean", "value": "seconds", "window": "1h", "fallback": "last_known", "ttl": "1d"},
    }
    bench.policy = personal_policy(features=features)
    device = bench.open()
    assert read(device, "plays").fallback is Fallback.UNAVAILABLE
    assert (read(device, "crashes").value, read(device, "crashes").fallback) == (-1, Fallback.DEFAULT)
    for minute in range(31):
        bench.at(NOW + 60 * minute)
        device.pipeline.features.living.tick()
    half = read(device, "plays")
    assert (half.value, half.coverage) == (0, pytest.approx(0.5))
    record(device, played(NOW + 1800, seconds=40))
    bench.at(NOW + 1800 + 5 * 3600)
    known = read(device, "mean")
    assert (known.value, known.fallback) == (40, Fallback.LAST_KNOWN)
    assert NOW + 5000 < known.as_of_ms / 1000 < NOW + 5500
    assert read(device, "plays").fallback is Fallback.UNAVAILABLE


def test_events_under_a_wrong_clock_count_when_it_is_right(tmp_path):
    """While the clock is known to be wrong they count nowhere, also not in what a correction works out anew."""
    clock = MachineClock(true_ms=NOW_MS)
    bench = Bench(tmp_path, clock=clock, policy=personal_policy())
    device = bench.open()
    record(
        device, played(clock.now_ms() / 1000 - 1, seconds=10), played(clock.now_ms() / 1000, seconds=20, event_id="a")
    )
    clock.wait(100)
    clock.set_wall(-3 * 3600)
    record(device, played(clock.now_ms() / 1000, seconds=5))
    assert read(device, "shortest").value == 10
    clock.set_wall(0)
    device.pipeline.forget()
    assert read(device, "shortest").value == 5
    bench.close()


def test_stopped_personalization_keeps_no_feature(bench):
    device = bench.open()
    record(device, played(NOW - 100))
    device.pipeline.adopt(personal_policy(version=2, rest="kill: {personalization: true}"))
    record(device, played(NOW - 90))
    assert device.store.connection.execute("SELECT count(*) FROM feature_states").fetchone() == (0,)
    device.pipeline.adopt(personal_policy(version=3))
    assert read(device, "plays").value == 2


def test_a_category_more_or_less_keeps_the_buckets(bench):
    """History is not lost because a genre came; one that left is read no more."""
    features = {"top": FEATURES["top_genres"] | {"top": 9}}
    bench.policy = personal_policy(features=features, retention="1d")
    device = bench.open()
    record(device, played(NOW - 9), played(NOW - 8, genre="drama"))
    bench.at(NOW + 2 * DAY)
    device.pipeline.forget()
    device.pipeline.adopt(personal_policy(features=features, version=2, retention="1d", genres="[news, sport, music]"))
    assert (list(read(device, "top").value), read(device, "top").is_partial) == (["news"], False)


def test_a_shorter_retention_holds_for_what_is_kept_already(bench):
    bench.policy = personal_policy(features={"long": FEATURES["seconds_year"]})
    device = bench.open()
    record(device, played(NOW - 10 * DAY))
    shorter = personal_policy(features={"long": FEATURES["seconds_year"]}, version=2, rest="retention: {enriched: 5d}")
    device.pipeline.adopt(shorter)
    device.pipeline.forget()
    assert device.store.connection.execute("SELECT count(*) FROM feature_states").fetchone() == (0,)


@pytest.mark.parametrize("ttl", [None, "2d"])
def test_what_was_forgotten_is_not_begun_again_with_a_part_of_it(bench, ttl):
    """A late event into a bucket that is over, then a correction of one that had been in it: nothing to undo."""
    names = ("median", "lengths", "plays", "seconds_by_genre")
    features = {name: FEATURES[name] | {"window": "3d"} | ({"ttl": ttl} if ttl else {}) for name in names}
    bench.policy = personal_policy(features=features)
    device = bench.open()
    record(device, played(NOW - 100, event_id="early", seconds=10))
    bench.at(NOW + 4 * DAY)
    device.pipeline.forget()
    record(device, played(NOW - 99, event_id="late", seconds=3000))
    record(device, played(NOW + 4 * DAY, retracts="early"))
    record(device, played(NOW + 4 * DAY, seconds=30))
    for opened in _as_it_is_and_opened_again(bench, device):
        values = {name: read(opened, name).value for name in names}
        assert values == {
            "median": pytest.approx(30, rel=0.01),
            "lengths": 1,
            "plays": 1,
            "seconds_by_genre": {"news": 30},
        }
