"""The pipeline over a real database, with real envelopes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discreet_aggregator.accumulate import accumulate, by_cell, fold
from discreet_aggregator.archive import pack
from discreet_aggregator.keys import load_keys
from discreet_aggregator.pipeline import Pipeline
from discreet_aggregator.records import Admitted, Cell
from discreet_aggregator.refusal import RefusalReason, verdict_of
from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.reader import Reader
from discreet_contract.envelope import OVERHEAD_BYTES
from discreet_contract.errors import RetryableError
from discreet_contract.wire import Verdict, encode_report

DAY = 86_400
WINDOW = 28 * DAY


def broken_text(fleet):
    """A report whose fleet is no UTF-8."""
    body = encode_report(fleet.report(), overhead=OVERHEAD_BYTES)
    return fleet.seal_bytes(body.replace(b"test-fleet", b"test-\xff\xfeeet"))


def other_key(fleet):
    envelope = bytearray(fleet.seal(fleet.report()))
    envelope[40] ^= 1
    return bytes(envelope)


def tend(pipeline):
    while pipeline.tend():
        pass


CASES = {
    RefusalReason.SIZE: lambda f: f.seal(f.report())[:-1],
    RefusalReason.MAGIC: lambda f: b"dsc9" + f.seal(f.report())[4:],
    RefusalReason.KEY_UNKNOWN: lambda f: f.seal_bytes(encode_report(f.report(), overhead=OVERHEAD_BYTES), "k2"),
    RefusalReason.UNOPENABLE: other_key,
    RefusalReason.MALFORMED: lambda f: f.seal_bytes(bytes(256 - OVERHEAD_BYTES)),
    RefusalReason.WIRE_VERSION_UNKNOWN: lambda f: f.seal(f.report(wire_version=2)),
    RefusalReason.WRONG_FLEET: lambda f: f.seal(f.report(fleet="other")),
    RefusalReason.POLICY_UNKNOWN: lambda f: f.seal(f.report(policy_hash=bytes(16))),
    RefusalReason.METRIC_UNKNOWN: lambda f: f.seal(f.report(metric="nothing")),
    RefusalReason.MECHANISM_MISMATCH: lambda f: f.seal(f.report(mechanism="krr-1")),
    RefusalReason.DIMENSIONS_ILLEGAL: lambda f: f.seal(f.report(dimensions=(("arm", "a"),))),
    RefusalReason.WINDOW_ILLEGAL: lambda f: f.seal(f.report(window_start=f.window_start + 1)),
    RefusalReason.WINDOW_NOT_BEGUN: lambda f: f.seal(f.report(window_start=f.window_start + WINDOW)),
    RefusalReason.WINDOW_TOO_LATE: lambda f: f.seal(f.report(window_start=f.window_start - 3 * WINDOW)),
    RefusalReason.PAYLOAD_ILLEGAL: lambda f: f.seal(f.report(payload=b"\x02")),
}


@pytest.mark.parametrize("reason", CASES, ids=lambda reason: reason.value)
def test_each_refusal_is_counted_kept_and_answered(fleet, pipeline, query, reason):
    """A real case of each reason gets its receipt or none, one count, one quarantined envelope, and adds nothing."""
    envelope = CASES[reason](fleet)

    receipts = fleet.receipts(pipeline.process([envelope]))

    assert [receipt.verdict for receipt in receipts] == [v for v in [verdict_of(reason)] if v is not None]
    assert query("select reason, count from refusals") == [(reason.value, 1)]
    assert query("select reason, envelope from quarantine") == [(reason.value, envelope)]
    assert query("select count(*) from archive") == query("select count(*) from sums") == [(0,)]
    assert query("select coalesce(sum(ids), 0) from seen_runs") == [(len(receipts),)]


def test_every_reason_has_a_case():
    """No reason is left without a test: duplicates and the two of ingest have their own."""
    elsewhere = {RefusalReason.DUPLICATE, RefusalReason.RETAINED, RefusalReason.TOO_LARGE, RefusalReason.OVERFLOW}
    assert set(RefusalReason) == set(CASES) | elsewhere


def test_refusals_at_the_door_are_counted(pipeline, query):
    """What ingest dropped unread is counted by the same transaction."""
    assert pipeline.process([], {RefusalReason.TOO_LARGE: 2, RefusalReason.RETAINED: 1}) == []
    assert query("select reason, count from refusals order by 1") == [("RETAINED", 1), ("TOO_LARGE", 2)]


@pytest.mark.parametrize("window_start", [-WINDOW, -(2**63), 2**63 - 1, 2**64 - 1])
def test_windows_beyond_any_integer_are_refused(fleet, pipeline, query, window_start):
    """No window start makes SQLite or the arithmetic overflow."""
    pipeline.process([fleet.seal(fleet.report(window_start=window_start))])
    [(reason,)] = query("select reason from refusals")
    assert reason in {"WINDOW_ILLEGAL", "WINDOW_NOT_BEGUN"}


def test_a_text_that_is_no_utf8_is_malformed(fleet, pipeline, query):
    """A broken text inside a well-sealed report is refused like any other broken report."""
    assert pipeline.process([broken_text(fleet)]) == []
    assert query("select reason from refusals") == [("MALFORMED",)]


def test_a_copy_in_the_same_batch_is_answered_alike_and_counted_once(fleet, pipeline, query):
    """Both copies are accepted as far as the device can tell."""
    report = fleet.report()
    envelope = fleet.seal(report)

    [receipt] = fleet.receipts(pipeline.process([envelope, envelope]))

    assert receipt.verdict == Verdict.ACCEPTED
    assert receipt.authentic(report.receipt_key)
    assert query("select reason, count from refusals") == [("DUPLICATE", 1)]
    assert query("select sum(reports) from archive") == [(1,)]
    assert query("select count(*) from quarantine") == [(0,)]


def test_a_copy_in_a_later_batch_gets_the_first_verdict(fleet, pipeline, query):
    """The receipt of a copy is the same bytes, whether the report was accepted or refused."""
    accepted, refused = fleet.seal(fleet.report()), fleet.seal(fleet.report(payload=b"\x07"))
    first = pipeline.process([accepted, refused])
    assert pipeline.process([accepted, refused]) == first
    assert query("select reason, count from refusals order by 1") == [("DUPLICATE", 2), ("PAYLOAD_ILLEGAL", 1)]
    assert query("select sum(reports) from archive") == [(1,)]


def test_what_may_pass_is_judged_anew(fleet, pipeline):
    """A report of a window that has not ended gets no receipt now and is accepted once it has."""
    envelope = fleet.seal(fleet.report(window_start=fleet.window_start + WINDOW))
    assert pipeline.process([envelope]) == []
    fleet.clock.advance_to(fleet.clock.now_ms() + WINDOW * 1000)
    [receipt] = fleet.receipts(pipeline.process([envelope]))
    assert receipt.verdict == Verdict.ACCEPTED


def test_receipts_go_to_the_bucket_of_the_policy(fleet, store):
    """One message a bucket, on the topic where the device listens."""
    for path in (fleet.folder / "policies").glob("*.json"):
        path.unlink()
    fleet.release("two", version=2, buckets=256)
    reports = [fleet.report(report_id=bytes([first]) + bytes(15)) for first in (0, 0xA7, 0xA7)]
    reports[2] = msgspec.structs.replace(reports[2], report_id=b"\xa7" + b"\1" * 15)
    messages = fleet.pipeline(store).process([fleet.seal(report) for report in reports])
    assert [message.topic for message in messages] == [
        "discreet/1/test-fleet/receipts/0",
        "discreet/1/test-fleet/receipts/a7",
    ]
    assert len(fleet.receipts(messages)) == 3


def test_a_crash_before_commit_leaves_nothing(fleet, pipeline, store, query):
    """An exception at any point of the transaction undoes all of it, and the same batch then counts once."""
    tables = ("seen_runs", "seen_parts", "archive", "cells", "sums", "sources", "refusals", "quarantine")
    envelopes = [fleet.seal(fleet.report()), b"garbage"]
    admitted = Admitted(fleet.report(), fleet.policy.plans["any_trip"], 1, 0)
    with pytest.raises(ZeroDivisionError), store.transaction() as transaction:
        transaction.raise_watermark(fleet.clock.now_ms())
        transaction.archive(pack([admitted]), 1)
        transaction.remember_verdicts([admitted], {})
        raise ZeroDivisionError
    assert all(query(f"select count(*) from {table}") == [(0,)] for table in tables)  # noqa: S608 our own names
    assert query("select now_ms from watermark") == [(0,)]
    pipeline.process(envelopes)
    assert query("select sum(reports) from archive") == [(1,)]


def test_a_locked_database_is_retryable_and_the_batch_counts_once(fleet, pipeline, where, query):
    """Somebody else's write lock postpones a batch; nothing of it is counted until it is gone."""
    envelope = fleet.seal(fleet.report())
    with closing(find_database(where).connect()) as other:
        other.begin()
        with pytest.raises(RetryableError):
            pipeline.process([envelope])
        other.rollback()
    pipeline.process([envelope])
    assert query("select sum(reports) from archive") == [(1,)]


def test_sums_equal_a_recomputation_from_the_archive(fleet, pipeline, where, query):
    """Whatever the batches were, stored sums are those of the archived payloads."""
    plans = fleet.policy.plans
    reports = []
    for number in range(40):
        name = ("any_trip", "place", "distance")[number % 3]
        plan = plans[name]
        start = fleet.window_start - WINDOW * (number % 2)
        payload = plan.mechanism.randomize(number % (plan.high + 1))
        reports.append(fleet.report(metric=name, mechanism=plan.mechanism.id, payload=payload, window_start=start))
    envelopes = [fleet.seal(report) for report in reports]
    for start in range(0, 40, 7):
        pipeline.process(envelopes[start : start + 9])  # overlapping batches: every one holds duplicates
    with Reader(where) as reader:
        stored = {one.cell: one.sums for one in reader.cells()}
        archived = list(reader.archived())
    expected: dict[Cell, tuple[int, ...]] = {}
    for cell, _, payloads, _ in archived:
        added = tuple(fold([payloads], plans[cell.metric].mechanism).tolist())
        expected[cell] = tuple(map(sum, zip(expected.get(cell, (0,) * len(added)), added, strict=True)))
    assert stored == expected
    assert len(stored) == 6
    assert sum(sums[0] for sums in stored.values()) == 40
    assert query("select sum(reports) from sources") == [(40,)]


def test_verdicts_are_dropped_only_past_the_horizon(fleet, pipeline, query):
    """As long as the bytes could be admitted again, their verdict is kept; afterwards they are too late."""
    envelope = fleet.seal(fleet.report())
    pipeline.process([envelope])
    [(keep_until,)] = query("select keep_until from seen_runs")
    assert keep_until == fleet.window_start + WINDOW + 2 * 3600 + 3600 + 35 * DAY
    fleet.clock.advance_to(keep_until * 1000 + 999)
    tend(pipeline)
    assert query("select sum(ids) from seen_runs") == [(1,)]
    assert fleet.receipts(pipeline.process([envelope]))[0].verdict == Verdict.ACCEPTED
    fleet.clock.advance_to((keep_until + 61) * 1000)
    tend(pipeline)
    assert query("select count(*) from seen_runs") == query("select count(*) from seen_parts") == [(0,)]
    assert query("select forgotten from watermark") == [(keep_until,)]
    assert fleet.receipts(pipeline.process([envelope]))[0].verdict == Verdict.WINDOW_TOO_LATE
    assert query("select sum(reports) from archive") == [(1,)]


def test_a_clock_that_goes_back_reopens_no_window(fleet, pipeline, query):
    """What was too late once stays too late: the watermark only rises."""
    late = fleet.seal(fleet.report())
    now = fleet.clock.now_ms()
    fleet.clock.advance_to(now + 40 * DAY * 1000)
    pipeline.process([])
    fleet.clock.ms = now
    assert fleet.receipts(pipeline.process([late]))[0].verdict == Verdict.WINDOW_TOO_LATE
    assert query("select now_ms from watermark") == [(now + 40 * DAY * 1000,)]


def test_a_clock_that_leaps_is_not_believed(fleet, store, query):
    """Else every report would be too late for good: batches wait until somebody says which is right."""
    leap = 14 * DAY * 1000
    pipeline = Pipeline(
        store, fleet.shelf, load_keys(fleet.folder / "keys"), fleet.clock, "test-fleet", longest_leap_ms=leap
    )
    assert pipeline.beacon() is None  # it is not known yet
    pipeline.process([fleet.seal(fleet.report())])
    assert pipeline.beacon() is not None
    now = fleet.clock.now_ms()
    fleet.clock.advance_to(now + leap + 1)
    with pytest.raises(RetryableError, match="last at work on") as told:
        pipeline.process([fleet.seal(fleet.report())])
    assert "watermark --set now" in told.value.hint
    assert pipeline.beacon() is None
    with store.transaction() as transaction:
        transaction.set_watermark(fleet.clock.now_ms(), "it is right", 5)
    [receipt] = fleet.receipts(pipeline.process([fleet.seal(fleet.report())]))
    assert receipt.verdict == Verdict.ACCEPTED
    assert query("select at_ms, what, reason from interventions") == [
        (5, f"watermark from {now} to {fleet.clock.now_ms()}", "it is right")
    ]


def test_a_watermark_set_back_opens_no_forgotten_window(fleet, pipeline, store, query):
    """A clock ran ahead and ids were forgotten: once it is mended, new reports are taken and old ones stay too late."""
    old = fleet.seal(fleet.report())
    pipeline.process([old])
    now = fleet.clock.now_ms()
    fleet.clock.advance_to(now + 400 * DAY * 1000)
    tend(pipeline)
    assert query("select count(*) from seen_runs") == [(0,)]
    with store.transaction() as transaction:
        transaction.set_watermark(now, "the clock was a year ahead", 5)
    fleet.clock.ms = now
    assert fleet.receipts(pipeline.process([old]))[0].verdict == Verdict.WINDOW_TOO_LATE
    assert query("select sum(reports) from archive") == [(1,)]
    fleet.clock.advance_to(now + WINDOW * 1000)
    newer = fleet.seal(fleet.report(window_start=fleet.window_start + WINDOW))
    assert fleet.receipts(pipeline.process([newer]))[0].verdict == Verdict.ACCEPTED


def test_quarantine_is_bounded(pipeline, store, query):
    """The newest envelopes are kept, and one a reason and batch."""
    pipeline.process([b"x", b"y", b"z"])
    assert query("select envelope from quarantine") == [(b"x",)]
    with store.transaction() as transaction:
        for number in range(1100):
            transaction.quarantine({RefusalReason.SIZE: bytes([number % 256]) * 9000}, number)
    assert query("select count(*), max(length(envelope)), max(received_at_ms) from quarantine") == [(1000, 4096, 1099)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=600), max_size=5), st.lists(st.binary(max_size=180), max_size=5))
def test_no_bytes_make_it_raise(fleet, pipeline, outer, inner):
    """Neither arbitrary envelopes nor arbitrary contents of well-sealed ones get an exception or an answer."""
    sealed = [fleet.seal_bytes(body.ljust(256 - OVERHEAD_BYTES, b"\xc0")) for body in inner]
    assert pipeline.process([*outer, *sealed]) == []


ODD_REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "wire_version": st.integers(-(2**63), 2**64 - 1),
        "fleet": st.sampled_from(["test-fleet", "", "\0"]),
        "metric": st.sampled_from(["any_trip", "place", "distance", "", "x" * 64, "\0'\"--"]),
        "window_start": st.integers(-(2**63), 2**64 - 1) | st.integers(0, 800).map(lambda k: k * WINDOW),
        "mechanism": st.sampled_from(["rr-1", "krr-1", "dlap-1", ""]),
        "payload": st.binary(max_size=9),
        "dimensions": st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3).map(tuple),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ODD_REPORTS, max_size=6))
def test_no_report_makes_it_raise(fleet, pipeline, odd):
    """A well-formed report may say anything; each gets at most one authentic receipt."""
    reports = {report.report_id: report for report in (fleet.report(**values) for values in odd)}
    for receipt in fleet.receipts(pipeline.process([fleet.seal(report) for report in reports.values()])):
        assert receipt.authentic(reports[receipt.report_id].receipt_key)


def test_cells_keep_metric_versions_apart(fleet):
    """Sums of one version never meet those of another."""
    plan = fleet.policy.plans["any_trip"]
    other = replace(plan, version="0" * 16)
    report = fleet.report()
    blocks = pack([Admitted(report, plan, 1, 0), Admitted(report, other, 0, 0), Admitted(report, plan, 1, 0)])
    assert {cell.metric_version: accumulate(each).tolist() for cell, each in by_cell(blocks).items()} == {
        plan.version: [2, 2],
        other.version: [1, 0],
    }


def test_a_blocks_order_is_that_of_the_ids(fleet, pipeline, where):
    """In what order reports came is forgotten: neighbours in the archive say nothing of one device."""
    reports = [fleet.report(payload=bytes([number % 2])) for number in range(9)]
    pipeline.process([fleet.seal(report) for report in reports])
    with Reader(where) as reader:
        [(_, _, payloads, report_ids)] = reader.archived()
    found = [(report_ids[16 * at : 16 * at + 16], payloads[at : at + 1]) for at in range(9)]
    assert found == sorted((report.report_id, report.payload) for report in reports)
