"""The raw log: sealed, in buckets, merged, forgotten with its keys; never longer than promised."""

import sqlite3
import time
import zlib
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench import HOUR, ROOT, START, Bench, MachineClock, make_policy, make_signed, opening
from discreet_agent.consent import Word, write_word
from discreet_agent.event import Event
from discreet_agent.steps.device import Limits
from discreet_agent.store.keys import KEYS, KeyRing, unseal
from discreet_agent.store.raw import Arrival, by_bucket
from discreet_contract.durations import grain
from discreet_contract.policy.release import verify_policy

DAY = 86_400


def rows(device, sql):
    return device.store.connection.execute(sql).fetchall()


@given(kept=st.integers(1, 10**8), age=st.integers(0, 10**8), wall=st.integers(10**9, 3 * 10**9))
def test_a_bucket_never_outlives_its_youngest_promise(kept, age, wall):
    """Forgotten when its first event has to be, and no event before seven eighths of its retention."""
    length = grain(kept)
    arrival = Arrival(1, 0, wall * 1000, wall * 1000)
    event = Event("a", "1-0-0", (wall - age) * 1000, {})
    [(bucket, _)] = by_bucket([event], {"a": kept}, arrival).items()

    assert bucket.start <= wall - age < bucket.start + length
    assert length <= max(1, kept / 8)


def test_nothing_readable_lies_in_the_database(bench, device):
    """Neither as it is nor unpacked; with the key it opens."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="visible-id", fields={"seconds": 12.5, "side": "left"})])
    [[body]] = rows(device, "SELECT body FROM raw_blocks")
    assert b"visible" not in body
    with pytest.raises(zlib.error):
        zlib.decompress(body)
    device.store.truncate_log()
    assert b"visible-id" not in (bench.folder / "agent.db").read_bytes()
    assert [event.id for event in device.store.raw.events()] == ["visible-id"]


def test_a_copy_taken_before_forgetting_opens_with_nothing_the_device_still_has(bench, device):
    """Database and write-ahead log copied in time; the key file is another one since."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    [kept] = device.store.raw.buckets()
    [[body]] = rows(device, "SELECT body FROM raw_blocks")
    assert unseal(device.store.keys.find(kept.bucket), kept.bucket, body)
    bench.at(START + 4 * DAY)
    assert device.pipeline.forget() == 1

    ring = KeyRing(bench.folder / KEYS)
    ring.open()
    assert ring.buckets() == set()


def test_a_receipt_says_what_went_and_under_which_key(bench, device):
    """Signal, stretch, number, reason, the key's fingerprint; never a value."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + second, id=f"e{second}") for second in range(1, 4)])
    bench.at(START + 4 * DAY)
    device.pipeline.forget()
    [receipt] = device.store.deletions.latest(10)
    assert (receipt.layer, receipt.subject, receipt.items, receipt.why) == ("raw", "door.opened", 3, "EXPIRED")
    assert receipt.start <= START + 1 < receipt.start + receipt.length
    assert len(receipt.key_fingerprint) == 16


def test_a_shorter_retention_applies_to_what_is_stored_a_longer_one_does_not(bench, device):
    """A promise may be kept earlier, never later."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    device.pipeline.adopt(make_policy(version=2, retention="8d"))
    bench.at(START + 3 * DAY + 10)
    assert device.pipeline.forget() == 1
    device.pipeline.record([opening(START + 3 * DAY + 5)])
    bench.at(START + 6 * DAY + 20)
    assert device.pipeline.forget() == 0
    device.pipeline.adopt(make_policy(version=3, retention="1d"))
    assert device.pipeline.forget() == 1


def test_a_signal_that_leaves_the_policy_is_forgotten(bench, device):
    """Nobody may read it any more."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    device.pipeline.adopt(make_policy(version=2, signal="door.closed"))
    assert device.pipeline.forget() == 1
    assert [receipt.why for receipt in device.store.deletions.latest(10)] == ["POLICY"]
    assert device.store.counters()["events_given_up"] == {"POLICY": 1}


def test_a_clock_set_back_keeps_nothing_longer_and_one_set_forward_destroys_nothing(tmp_path):
    """A year each way, within one boot."""
    bench = Bench(tmp_path / "state", clock=MachineClock())
    device = bench.open()
    clock = bench.clock
    device.pipeline.record([opening(START)])
    clock.set_wall(365 * DAY)
    clock.wait(HOUR)
    assert device.pipeline.forget() == 0
    clock.set_wall(-365 * DAY)
    clock.wait(3 * DAY)
    assert device.pipeline.forget() == 1
    bench.close()


def test_an_absence_that_nobody_confirms_is_held_and_then_counted(tmp_path):
    """Off for ten days: what is over is forgotten when the time is confirmed, or after a day."""
    bench = Bench(tmp_path / "state", clock=MachineClock())
    device = bench.open()
    device.pipeline.record([opening(START)])
    bench.clock.reboot(off_seconds=10 * DAY)
    device = bench.open()
    assert device.pipeline.forget() == 0
    bench.clock.synchronized = True
    assert device.pipeline.forget() == 1
    bench.close()


def test_small_blocks_become_one_when_their_hour_is_over(bench, device):
    """Nothing is lost, ids included; what is few stays as it is."""
    for second in range(1, 41):
        bench.at(START + second)
        device.pipeline.record([opening(START + second, id=f"e{second}")])
    assert device.store.raw.size() == (40, 40)
    bench.at(START + HOUR + 1)
    device.pipeline.forget()
    assert device.store.raw.size() == (1, 40)
    assert {event.id for event in device.store.raw.events()} == {f"e{second}" for second in range(1, 41)}
    device = bench.open()
    outcomes = device.pipeline.record([opening(START + second, id=f"e{second}") for second in range(1, 41)])
    assert None not in outcomes


def test_a_full_database_gives_up_the_oldest_raw_events_and_nothing_else(bench):
    """Counted under the quota that gave."""
    device = bench.open()
    device.pipeline.close_windows()
    for day in range(3):
        for batch in range(4):
            bench.at(START + day * 43_200 + batch)
            events = [
                opening(
                    START + day * 43_200,
                    fields={"seconds": (number * 7919 + batch) % 200 / 2, "side": "left"},
                    id=f"{day} {batch} {number}",
                )
                for number in range(3000)
            ]
            device.pipeline.record(events)
    ledger = rows(device, "SELECT count(*) FROM ledger")
    cap = device.store.used_bytes() - 10_000
    bench.limits = Limits(max_database_bytes=cap)
    device = bench.open()
    device.pipeline.forget()
    assert device.store.used_bytes() < cap
    given_up = device.store.counters()["events_given_up"]["DATABASE_FULL"]
    kept = [event.time_ms for event in device.store.raw.events()]
    assert given_up + len(kept) == 36_000
    assert kept
    assert min(kept) >= (START + 43_200) * 1000
    assert rows(device, "SELECT count(*) FROM ledger") == ledger


def test_without_its_key_file_the_device_goes_on_and_says_what_was_lost(bench, device):
    """Deleted, or damaged: events of before are gone, counted, receipted; new ones are taken."""
    for lost, damage in ((1, lambda path: path.unlink()), (3, lambda path: path.write_bytes(b"junk"))):
        bench.at(START + 10)
        device.pipeline.record([opening(START + 1)])
        bench.close()
        damage(bench.folder / KEYS)
        device = bench.open()
        assert list(device.store.raw.events()) == []
        device.pipeline.record([opening(START + 2)])
        device.pipeline.forget()
        assert len(list(device.store.raw.events())) == 1
        assert device.store.counters()["events_given_up"]["KEY_LOST"] == lost


def test_a_kill_between_marking_and_deleting_leaves_nothing_behind(bench, device):
    """Wherever a pass is left off, the next one finishes it; the receipt comes once."""
    for left_off in range(6):
        now = START + left_off * 5 * DAY
        bench.at(now + 10)
        device.pipeline.record([opening(now + 1, id=f"e{left_off}")])
        bench.at(now + 4 * DAY)
        passing = device.pipeline.tidy()
        for _ in range(left_off):
            next(passing, None)
        device = bench.open()
        device.pipeline.forget()
        assert device.store.raw.buckets() == []
        assert device.store.keys.buckets() == set()
        assert len(device.store.deletions.latest(100)) == left_off + 1


def test_steps_are_short(bench, device):
    """A day of many blocks is deleted in several transactions."""
    bench.at(START + 10)
    for batch in range(40):
        fields = [{"seconds": (number * 7919 + batch) % 200 / 2, "side": "left"} for number in range(2000)]
        events = [
            opening(START + 1, fields=each, id=f"{batch} {number} {'x' * 20}") for number, each in enumerate(fields)
        ]
        device.pipeline.record(events)
    bench.at(START + 4 * DAY)
    assert len(list(device.pipeline.tidy())) > 4
    assert device.store.raw.size() == (0, 0)


def test_what_is_asked_at_every_pass_does_not_read_every_block(device):
    """The cost of a pass must not grow with the log: directory and undated blocks are found by small indexes."""
    plan = device.store.connection.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM raw_blocks WHERE undated = 1 AND boot = 7"
    ).fetchall()
    assert ["raw_blocks_undated" in step[-1] for step in plan] == [True]


def test_nobody_waits_for_who_reads_the_database(bench, device):
    """An export that is read slowly keeps the write-ahead log; the next pass cuts it."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    with closing(sqlite3.connect(bench.folder / "agent.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM counters").fetchall()
        device.pipeline.record([opening(START + 2)])
        began = time.monotonic()
        device.pipeline.forget()
        assert time.monotonic() - began < 1
        assert not device.store.truncate_log()
    assert device.store.truncate_log()


def test_off_ends_a_pass_that_has_begun(bench, device):
    """P6: not one more write."""
    bench.at(START + 10)
    for number in range(600):
        device.pipeline.record([opening(START + 1, id=f"{number}")])
    bench.at(START + 4 * DAY)
    passing = device.pipeline.tidy()
    next(passing)
    write_word(bench.folder, Word("off", bench.clock.now_ms()))
    before = device.store.connection.total_changes
    assert len(list(passing)) <= 1
    assert device.store.connection.total_changes <= before + 600  # the step that was under way
    before = device.store.connection.total_changes
    assert list(device.pipeline.tidy()) == []
    assert device.store.connection.total_changes == before


def test_ids_are_known_for_their_week_though_blocks_were_merged(tmp_path):
    """Blocks of another signal in between, a restart: what came in the last seven days is still refused."""
    other = (
        "  door.closed: {version: 1-0-0, role: observation, kind: outcome, sensitivity: interaction, why: in tests, "
    )
    other += "owner: tests@example.org, expires: 2030-01-01, retention: 30d, fields: {}}\n"
    edits = (("    retention: 3d\n", "    retention: 30d\n"), ("metrics:\n", other + "metrics:\n"))
    bench = Bench(tmp_path / "s", policy=verify_policy(make_signed(edits=edits), [ROOT.verify_key.encode().hex()]))
    device = bench.open()
    for hour in range(20):
        at = START + hour * HOUR
        bench.at(at)
        device.pipeline.record([opening(at, id=f"e{hour}")])
        if hour == 1:
            device.pipeline.record([opening(at, signal="door.closed", version="1-0-0", fields={}, id="other")])
    bench.at(START + 21 * HOUR)
    device.pipeline.forget()
    assert device.store.raw.size() == (2, 21)
    bench.at(START + 7 * DAY + 10 * HOUR)
    device = bench.open()
    sent_again = [opening(START + hour * HOUR, id=f"e{hour}") for hour in (11, 19)]
    assert None not in device.pipeline.record(sent_again)
    bench.close()
