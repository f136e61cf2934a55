"""Purge: what the owner asks to forget is gone at once, what was spent and sent stays."""

import sqlite3
from contextlib import closing

import pytest

from device_bench import HOUR, ROOT, START, damage_block, make_signed, opening
from discreet_agent.consent import Word, write_word
from discreet_agent.purge_request import leave_request, mark_obeyed, read_request
from discreet_agent.steps.purge import Purge
from discreet_agent.tally import conclude
from discreet_contract.errors import RetryableError, StoreError
from discreet_contract.policy.release import verify_policy


def openings(device, start):
    plan = device.pipeline._device.policy.plans["openings"]
    return conclude(plan, device.store.tallies.load(plan.name, plan.version, start))


@pytest.fixture
def filled(bench, device):
    """Ten events in each of two hours; the first hour is reported."""
    bench.at(START + HOUR + 61)
    device.pipeline.record([opening(START + second, id=f"a{second}") for second in range(10)])
    device.pipeline.close_windows()
    bench.at(START + HOUR + 600)
    device.pipeline.record([opening(START + HOUR + second * 60, id=f"b{second}") for second in range(10)])
    return device


def test_everything_goes_but_what_was_spent_and_sent(filled):
    """Raw events, open windows, ids; the ledger and the outbox stay."""
    before = (len(list(filled.store.ledger.entries())), filled.store.outbox.waiting())
    assert filled.pipeline.purge(Purge()) == 20
    assert list(filled.store.raw.events()) == []
    assert filled.store.keys.buckets() == set()
    assert openings(filled, START + HOUR) == 0
    assert (len(list(filled.store.ledger.entries())), filled.store.outbox.waiting()) == before
    assert {receipt.why for receipt in filled.store.deletions.latest(10)} == {"PURGED"}
    assert filled.pipeline.record([opening(START + HOUR, id="b0")]) == [None]


def test_up_to_a_moment_exactly(filled, bench):
    """What came later stays readable and counted, also within one bucket; its old key is gone."""
    old = filled.store.keys.buckets()
    filled.pipeline.purge(Purge(before_ms=(START + HOUR + 300) * 1000))
    assert sorted(event.id for event in filled.store.raw.events()) == [f"b{second}" for second in range(5, 10)]
    assert openings(filled, START + HOUR) == 5
    assert not old & filled.store.keys.buckets()
    device = bench.open()
    assert None not in device.pipeline.record([opening(START + HOUR, id=name) for name in ("b0", "b9", "a3")])


def test_another_signal_stays(filled):
    """A signal that has no events purges nothing."""
    assert filled.pipeline.purge(Purge(signal="door.closed")) == 0
    assert filled.store.raw.size()[1] == 20


def test_it_works_while_off(filled, bench):
    """The owner's later word counts too."""
    write_word(bench.folder, Word("off", bench.clock.now_ms()))
    assert filled.pipeline.forget() == 0
    assert filled.pipeline.purge(Purge()) == 20


def test_a_request_is_read_once_and_waits_until_it_is_obeyed(tmp_path):
    """A second one is refused meanwhile; junk is named."""
    assert read_request(tmp_path) is None
    leave_request(tmp_path, Purge("door.opened", 5))
    with pytest.raises(StoreError, match="still waits"):
        leave_request(tmp_path, Purge())
    assert read_request(tmp_path) == Purge("door.opened", 5)
    mark_obeyed(tmp_path)
    assert read_request(tmp_path) is None
    (tmp_path / "purge.json").write_text("{")
    with pytest.raises(StoreError, match="no request"):
        read_request(tmp_path)


def test_the_receipt_counts_what_went_of_a_bucket(filled):
    """Also where the rest of it goes on under another key."""
    assert filled.pipeline.purge(Purge(before_ms=(START + HOUR + 300) * 1000)) == 15
    assert sum(receipt.items for receipt in filled.store.deletions.latest(10)) == 15
    assert filled.store.counters()["events_given_up"] == {"PURGED": 15}


def test_a_damaged_block_goes_with_what_is_forgotten(filled):
    """It does not keep the owner's word from being obeyed."""
    damage_block(filled, 2)
    assert filled.pipeline.purge(Purge(before_ms=(START + HOUR + 300) * 1000)) == 20
    assert list(filled.store.raw.events()) == []


def test_what_was_counted_under_a_former_definition_goes_too(bench, device):
    """While releases are stopped nobody else would drop it."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 5)])
    edits = (("bounds: [0, 10]", "bounds: [0, 20]"),)
    signed = make_signed(version=2, until="2023-11-14", edits=edits)
    device.pipeline.adopt(verify_policy(signed, [ROOT.verify_key.encode().hex()]))
    device.pipeline.purge(Purge())
    assert device.store.connection.execute("SELECT * FROM tallies").fetchall() == []


def test_what_the_agent_gathered_of_the_present_hour_goes_too(bench, device):
    """Counts, sums, runs and findings are in memory only, and would be written down when the hour ends."""
    bench.at(START + 10)
    device.pipeline.watch()
    device.pipeline.record([opening(START + second) for second in range(10)])
    device.pipeline.purge(Purge())
    for second in range(int(2.5 * HOUR)):
        bench.at(START + 11 + second)
        device.pipeline.watch()
    rows = device.store.connection.execute("SELECT hour, count FROM baselines").fetchall()
    assert rows == [(START // HOUR + 1, 0)]


@pytest.mark.parametrize("steps", range(8))
def test_a_purge_amid_a_pass_that_forgets(bench, device, steps):
    """The pass ends; new events are not deleted under an old number, and no receipt comes twice."""
    bench.at(START + 10)
    for number in range(600):
        device.pipeline.record([opening(START + 5, id=f"{number}")])
    later = START + 4 * 86_400
    bench.at(later)
    passing = device.pipeline.tidy()
    for _ in range(steps):
        next(passing, None)
    device.pipeline.purge(Purge())
    device.pipeline.record([opening(later, id=f"x{number}") for number in range(5)])
    list(passing)
    assert device.store.raw.size() == (1, 5)
    assert len(list(device.store.raw.events())) == 5
    assert sum(receipt.items for receipt in device.store.deletions.latest(10)) == 600


def test_a_purge_amid_a_pass_that_merges(bench, device):
    """Blocks that are gone are not merged."""
    bench.at(START + 10)
    for number in range(2500):
        device.pipeline.record([opening(START + 5, id=f"{number}")])
    bench.at(START + 2 * HOUR)
    passing = device.pipeline.tidy()
    while device.store.raw.size()[0] == 2500:
        next(passing)
    device.pipeline.purge(Purge())
    list(passing)
    assert device.store.raw.size() == (0, 0)


def test_a_log_that_somebody_reads_is_not_called_forgotten(bench, filled):
    """The write-ahead log still holds what went: the word is obeyed again until it is cut."""
    with closing(sqlite3.connect(bench.folder / "agent.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM counters").fetchall()
        with pytest.raises(RetryableError, match="still in its log"):
            filled.pipeline.purge(Purge())
    filled.pipeline.purge(Purge())
    assert (bench.folder / "agent.db-wal").stat().st_size == 0
