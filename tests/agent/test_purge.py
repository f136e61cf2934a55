"""Purge: what the owner asks to forget is gone at once, what was spent and sent stays."""

import pytest

from device_bench import HOUR, START, opening
from discreet_agent.consent import Word, write_word
from discreet_agent.purge_request import leave_request, mark_obeyed, read_request
from discreet_agent.steps.purge import Purge
from discreet_agent.tally import conclude
from discreet_contract.errors import StoreError


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
