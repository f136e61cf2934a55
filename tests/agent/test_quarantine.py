"""Refused input leaves its shape and nothing else, within bounds, and without a write for each."""

import sqlite3
from contextlib import closing

import pytest

from device_bench import START, Bench, make_policy, opening
from discreet_agent.consent import Word, write_word
from discreet_agent.device import DATABASE
from discreet_agent.event import Batch, EventRefusal, Quarantined, Refused, Shape
from discreet_agent.quarantine import MAX_FIELDS, MAX_PENDING, Quarantine, shape_of
from discreet_agent.receive.lines import decode_line
from discreet_agent.steps.admit import WRITE_MS
from discreet_agent.steps.purge import Purge
from discreet_agent.store.quarantine import MAX_BYTES, MAX_ROWS
from discreet_agent.validate import Validator
from discreet_contract.errors import RetryableError

DAY = 86_400
POLICY = make_policy().policy
PLANTED = {
    "seconds": 8317.0625,
    "side": "planted-side-zyx",
    "planted-field-qqq": "planted-text-www",
}
PLANTED_BYTES = (b"8317", b"planted", b"\x40\xc0\x3e\x88")


def shape(line, sender="porter"):
    refused = Validator(POLICY).check(line, START * 1000, sender)
    assert isinstance(refused, Refused)
    return shape_of(line, refused, sender, POLICY.signals)


def numbered(number, **changes):
    """A shape unlike any other number's."""
    return Shape("", "door.opened", "1-1-0", "OUT_OF_BOUNDS", f"rule {number}", "", 0)._replace(**changes)


def refuse(device, count=1, **changes):
    """Send that many events with a side that is not declared."""
    line = opening(START, **({"fields": {"seconds": 1, "side": "middle"}} | changes))
    return device.pipeline.record([line] * count)


# --- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"fields": {"seconds": 1, "side": "middle", "forced": True}},
            ("door.opened", "1-1-0", "UNKNOWN_CATEGORY", "forced true/false, seconds number, side text ≤ 8"),
        ),
        (
            {"fields": {"seconds": "", "planted-a": 1, "planted-b": 2, "planted-c": 3}, "id": "planted"},
            ("door.opened", "1-1-0", "WRONG_TYPE", "seconds text ≤ 0, ≤ 4 undeclared, with id"),
        ),
        ({"signal": "planted", "version": "3-1-4"}, ("", "3-1-4", "UNKNOWN_SIGNAL", "≤ 2 undeclared")),
        ({"version": "planted"}, ("door.opened", "", "UNKNOWN_VERSION", "seconds number, side text ≤ 4")),
        ({"version": "1-2-3\n"}, ("door.opened", "", "UNKNOWN_VERSION", "seconds number, side text ≤ 4")),
        (
            {"retracts": "planted" * 20, "fields": {}},
            ("door.opened", "1-1-0", "BAD_ID", "with retracts"),
        ),
    ],
)
def test_a_shape_names_what_the_policy_names_and_no_value(changes, wanted):
    """Lengths are rounded up to a power of two; undeclared names, ids and unknown signals are only counted."""
    found = shape(opening(START, **changes))

    assert (found.signal, found.version, found.reason, found.fields) == wanted
    assert found.sender == "porter"
    assert found.size_bytes == 0
    assert "planted" not in repr(found)


@pytest.mark.parametrize(
    ("line", "reason", "at_most"),
    [
        (b"planted", "MALFORMED", 8),
        (b"{" + b" " * 90 + b"}", "MALFORMED", 128),
        (b'{"signal": "door.opened", "planted": 1}', "MALFORMED", 64),
        (b'{"events": [{"planted": "planted"}]}', "MALFORMED", 32),
        (b"x" * 1_048_577, "TOO_LARGE", 2_097_152),
    ],
)
def test_what_cannot_be_read_leaves_its_length_only(line, reason, at_most):
    [refused] = decode_line(line)

    assert shape_of(refused, refused, "", POLICY.signals) == Shape("", "", "", reason, refused.detail, "", at_most)


def test_a_signal_with_many_fields_has_a_bounded_shape():
    fields = "".join(f"      f{number}: {{type: boolean}}\n" for number in range(40))
    policy = make_policy(edits=(("      forced:", fields + "      forced:"),)).policy
    line = opening(START, fields={f"f{number}": True for number in range(40)})
    refused = Validator(policy).check(line, START * 1000)
    found = shape_of(line, refused, "", policy.signals)

    assert found.fields.count("true/false") == MAX_FIELDS
    assert found.fields.endswith(", ≤ 8 more")


def test_the_wait_of_a_rate_limit_is_no_part_of_its_shape():
    """Or every refusal would be a shape of its own."""
    refused = Refused(EventRefusal.RATE_LIMITED, "… the next is taken in 731 ms")

    assert shape_of(opening(START), refused, "", POLICY.signals).detail == ""


def test_memory_is_bounded():
    """Equal shapes are one; beyond the bound they are only counted."""
    waiting = Quarantine()
    for number in range(MAX_PENDING + 50):
        waiting.add(numbered(number), number)
        waiting.add(numbered(0), 1000 + number)

    assert len(waiting.pending) == MAX_PENDING
    assert waiting.uncounted == 50
    assert waiting.pending[0] == Quarantined(numbered(0), MAX_PENDING + 51, 0, 1000 + MAX_PENDING + 49)


# --- the table ---------------------------------------------------------------------------------


def test_the_newest_rows_stay_within_the_bound(device):
    with device.store.transaction():
        for number in range(MAX_ROWS + 20):
            device.store.quarantine.put(Quarantined(numbered(number), 1, number, number), START)
        assert device.store.quarantine.shrink() == 20

    assert [kept.last_ms for kept in device.store.quarantine.rows()] == list(range(MAX_ROWS + 19, 19, -1))


def test_all_texts_together_are_bounded(device):
    """Long shapes make for fewer rows."""
    with device.store.transaction():
        for number in range(100):
            kept = Quarantined(numbered(number, fields="ü" * 1000), 1, number, number)
            device.store.quarantine.put(kept, START)
        device.store.quarantine.shrink()

    rows = device.store.quarantine.rows()
    assert 60 < len(rows) < MAX_BYTES / 2000
    assert rows[0].last_ms == 99


# --- the pipeline ------------------------------------------------------------------------------


def test_a_flood_of_bad_input_costs_one_row_and_one_write(device):
    """Nothing is written while it comes; what is written then is one row."""
    changes = device.store.connection.total_changes
    for _ in range(20):
        refuse(device, 500)
    assert device.store.connection.total_changes == changes
    assert device.store.quarantine.rows() == []

    device.pipeline.forget()
    [row] = device.store.quarantine.rows()
    assert (row.count, row.shape.reason) == (10_000, "UNKNOWN_CATEGORY")
    assert device.store.counters()["events_refused"] == {"UNKNOWN_CATEGORY": 10_000}


def test_it_is_written_at_most_every_ten_seconds(bench, device):
    """Whoever asks sees what is not written yet all the same, and asking writes nothing."""
    refuse(device)
    device.pipeline.forget()
    changes = device.store.connection.total_changes
    for _ in range(9):
        bench.clock.ms += WRITE_MS // 10
        refuse(device)
        device.pipeline._recording.write_refusals()
        [seen] = device.pipeline.admission.quarantined()
    assert device.store.connection.total_changes == changes
    assert (seen.count, seen.first_ms, seen.last_ms) == (10, START * 1000, START * 1000 + 9000)

    bench.clock.ms += WRITE_MS // 10
    device.pipeline._recording.write_refusals()
    assert device.store.quarantine.rows() == [seen]


def test_shapes_survive_a_restart_and_go_on_counting(bench, device):
    refuse(device, 3)
    device.pipeline.forget()
    device = bench.open()
    refuse(device, 4)
    bench.clock.ms += WRITE_MS
    device.pipeline.forget()

    assert [row.count for row in device.store.quarantine.rows()] == [7]


def test_a_shape_goes_with_its_signals_retention_or_after_a_week(bench, device):
    """Counted from the first refusal: a sender that never stops keeps nothing alive."""
    refuse(device)
    refuse(device, signal="not.declared")
    device.pipeline.forget()
    for day in range(1, 4):
        bench.at(START + day * DAY)
        refuse(device, time=bench.clock.ms)
        device.pipeline.forget()
    assert [row.shape.signal for row in device.store.quarantine.rows()] == [""]

    bench.at(START + 7 * DAY)
    device.pipeline.forget()
    assert [row.shape.signal for row in device.store.quarantine.rows()] == []


def test_shapes_that_left_are_counted(device):
    """By which bound."""
    for number in range(MAX_PENDING + 30):
        refuse(device, version=f"9-{number}-0")
    device.pipeline.forget()

    assert device.store.counters()["quarantine_dropped"] == {"TOO_MANY_SHAPES": 30}


def test_off_is_off_for_the_quarantine_too(bench, device):
    """P6: not even what waited in memory is written."""
    refuse(device)
    write_word(bench.folder, Word("off", START * 1000))
    before = (bench.folder / "agent.db").read_bytes(), (bench.folder / "agent.db-wal").read_bytes()
    refuse(device)
    bench.clock.ms += WRITE_MS
    device.pipeline.forget()
    assert ((bench.folder / "agent.db").read_bytes(), (bench.folder / "agent.db-wal").read_bytes()) == before

    write_word(bench.folder, Word("on", START * 1000))
    device.pipeline.forget()
    assert device.store.quarantine.rows() == []


def test_what_comes_in_again_and_again_is_no_matter_for_the_quarantine(device):
    """A duplicate is stored already: nothing is wrong with it."""
    device.pipeline.record([opening(START, id="a")] * 5)
    device.pipeline.forget()

    assert device.store.quarantine.rows() == []


def test_a_silenced_signal_leaves_nothing_but_a_count(bench):
    """Denied by the owner or stopped by the policy: not even its shape is kept."""
    bench.policy = make_policy(edits=(("lateness: 1m", "lateness: 1m\nkill: {signals: [door.opened]}"),))
    device = bench.open()
    assert [outcome.reason for outcome in refuse(device, 3)] == [EventRefusal.SILENCED] * 3
    device.pipeline.forget()

    assert device.pipeline.admission.quarantined() == []
    assert device.store.counters()["events_refused"] == {"SILENCED": 3}


def test_what_waits_is_written_before_the_agent_stops(bench, device):
    """Ten seconds or not."""
    refuse(device)
    device.pipeline.write_refusals()
    refuse(device)
    device.pipeline.write_refusals()

    assert [row.count for row in bench.open().store.quarantine.rows()] == [2]


@pytest.mark.parametrize(
    ("purge", "left"),
    [
        (Purge(), set()),
        (Purge("door.opened"), {""}),
        (Purge(before_ms=START * 1000), {"", "door.opened"}),
        (Purge(before_ms=START * 1000 + 1), set()),
    ],
)
def test_a_purge_forgets_shapes_too(device, purge, left):
    refuse(device)
    refuse(device, signal="not.declared")
    device.pipeline.forget()
    device.pipeline.purge(purge)

    assert {row.shape.signal for row in device.store.quarantine.rows()} == left


def test_clearing_forgets_what_waits_as_well(device):
    refuse(device)
    device.pipeline.forget()
    refuse(device, version="9-0-0")

    assert device.pipeline.admission.clear_quarantine() == 2
    assert device.pipeline.admission.quarantined() == []
    assert device.pipeline.admission.clear_quarantine() == 0


def test_no_planted_value_of_refused_input_is_in_the_files(bench, device):
    """P1, for values, undeclared names, ids, signals and versions that a sender made up."""
    lines = [
        opening(START, fields=PLANTED),
        opening(START, fields=PLANTED | {"seconds": 1}, id="planted-id"),
        opening(START, fields=PLANTED, signal="planted-signal"),
        opening(START, fields=PLANTED, version="planted-ver"),
        opening(START, time="planted-time", fields=PLANTED),
        opening(START, retracts="planted" * 20),
        *decode_line(b'{"signal": "door.opened", "planted": "planted-body"}'),
    ]
    assert None not in device.pipeline.record_group([Batch("porter", lines)])
    device.pipeline.forget()
    assert len(device.store.quarantine.rows()) == len(lines)

    files = {path.name: path.read_bytes() for path in bench.folder.iterdir() if path.is_file()}
    bench.close()
    files["closed"] = (bench.folder / "agent.db").read_bytes()
    assert b"UNKNOWN_CATEGORY" in files["closed"]
    assert {name for name, content in files.items() if any(one in content for one in PLANTED_BYTES)} == set()


def test_the_search_for_planted_values_would_find_them(tmp_path):
    """The same bytes, put into a row on purpose."""
    bench = Bench(tmp_path / "state")
    device = bench.open()
    with device.store.transaction():
        device.store.quarantine.put(Quarantined(numbered("planted"), 1, 0, 0), START)
    bench.close()

    assert b"planted" in (bench.folder / "agent.db").read_bytes()


# --- rate limits -------------------------------------------------------------------------------


def test_a_rate_limit_holds_by_sender_and_is_counted(bench):
    """Only what passes validation uses it up; what is over it is refused, counted and in quarantine."""
    bench.policy = make_policy(edits=(("    retention: 3d\n", "    retention: 3d\n    max_per_minute: 5\n"),))
    device = bench.open()
    bad = opening(START, fields={})
    batches = [Batch("a", [bad] * 10 + [opening(START)] * 8), Batch("b", [opening(START)] * 4)]
    outcomes = device.pipeline.record_group(batches)

    assert outcomes.count(None) == 9
    assert [outcome.reason for outcome in outcomes[15:18]] == [EventRefusal.RATE_LIMITED] * 3
    assert device.store.counters()["events_refused"] == {"MISSING_FIELD": 10, "RATE_LIMITED": 3}
    bench.clock.ms += 12_000
    assert device.pipeline.record([opening(START)] * 3, "a").count(None) == 1
    limited = [kept for kept in device.pipeline.admission.quarantined() if kept.shape.reason == "RATE_LIMITED"]
    assert [(kept.shape.sender, kept.count) for kept in limited] == [("a", 5)]


def test_what_is_sent_again_does_not_use_up_the_rate(bench):
    """Its answer was lost, so it must be told that it is on disk, not that it is too much."""
    bench.policy = make_policy(edits=(("    retention: 3d\n", "    retention: 3d\n    max_per_minute: 5\n"),))
    device = bench.open()
    lines = [opening(START, id=f"{number}") for number in range(5)]
    assert device.pipeline.record(lines) == [None] * 5
    assert {outcome.reason for outcome in device.pipeline.record(lines)} == {EventRefusal.DUPLICATE}


def test_what_could_not_be_stored_does_not_use_up_the_rate(bench):
    """Its sender is told to send it again, and then it is taken."""
    edits = (
        ("    retention: 3d\n", "    retention: 3d\n    max_per_minute: 5\n"),
        ("metrics:\n", "contracts: {door.opened: {latency: 10s}}\nmetrics:\n"),
    )
    bench.policy = make_policy(edits=edits)
    device = bench.open()
    lines = [opening(START, id=f"{number}") for number in range(5)]
    with closing(sqlite3.connect(bench.folder / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryableError):
            device.pipeline.record(lines)
    assert device.pipeline.record(lines) == [None] * 5
    assert device.pipeline.record([opening(START)])[0].reason is EventRefusal.RATE_LIMITED
    contract = device.pipeline.admission.contracts()["door.opened"]
    assert contract["events"] - contract["refused"] == 5  # not one came twice
