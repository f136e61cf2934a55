"""Names on the wire: ids that repeat, topics, verdicts; the rest is in tests/property and tests/vectors."""

import msgspec
import pytest

from discreet_contract.wire import (
    WIRE_VERSION,
    MalformedError,
    Report,
    Verdict,
    decode_report,
    make_report_id,
    receipt_bucket,
    receipts_topic,
    reports_topic,
)

REPORT = Report(
    WIRE_VERSION, "flights", b"p" * 16, "minutes", 0, "rr-1", b"\x01", (("arm", "a"),), b"i" * 16, b"k" * 32
)


def test_a_report_id_repeats_for_the_same_window_and_for_nothing_else():
    """A redraw is at worst a refused duplicate; two metrics of a device are strangers."""
    mine = make_report_id(b"s" * 32, "flights", "minutes", 0)

    assert make_report_id(b"s" * 32, "flights", "minutes", 0) == mine
    assert len(mine) == 16
    others = [
        (b"t" * 32, "flights", "minutes", 0),
        (b"s" * 32, "flight", "minutes", 0),
        (b"s" * 32, "flights", "minute", 0),
        (b"s" * 32, "flights", "minutes", 60),
        (b"s" * 32, "flightsm", "inutes", 0),
    ]
    assert len({mine, *(make_report_id(*other) for other in others)}) == 6


def test_topics_carry_the_wire_version_and_the_fleet_and_nothing_of_a_device():
    """As DESIGN.md §10 names them."""
    assert reports_topic("flights") == "discreet/1/flights/reports"
    assert receipts_topic("flights", receipt_bucket(b"\xab" + bytes(15), 16)) == "discreet/1/flights/receipts/a"
    assert receipts_topic("flights", "+") == "discreet/1/flights/receipts/+"


@pytest.mark.parametrize(
    ("buckets", "first", "last"),
    [(1, "0", "0"), (16, "0", "f"), (256, "0", "ff"), (4096, "0", "fff"), (65_536, "0", "ffff")],
)
def test_buckets_are_numbered_in_hex(buckets, first, last):
    """From all zeros to all ones."""
    assert receipt_bucket(bytes(16), buckets) == first
    assert receipt_bucket(b"\xff" * 16, buckets) == last


def test_only_accepted_and_duplicate_are_counted():
    """Everything else is a refusal."""
    assert [verdict for verdict in Verdict if verdict.counted] == [Verdict.ACCEPTED, Verdict.DUPLICATE]
    assert [verdict.value for verdict in Verdict] == list(range(len(Verdict)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wire_version", "1"),
        ("fleet", "f" * 65),
        ("fleet", b"f"),
        ("policy_hash", b"p" * 15),
        ("policy_hash", b"p" * 17),
        ("metric", "m" * 65),
        ("window_start", 1.5),
        ("window_start", None),
        ("mechanism", "m" * 17),
        ("payload", bytes(2049)),
        ("payload", "1"),
        ("dimensions", (("a",),)),
        ("dimensions", (("a", "b", "c"),)),
        ("dimensions", (("a", "b"),) * 9),
        ("dimensions", {"a": "b"}),
        ("report_id", b"i" * 15),
        ("receipt_key", b"k" * 31),
        ("padding", "0"),
    ],
)
def test_a_field_out_of_its_form_is_malformed(field, value):
    """Types and lengths of every field."""
    fields = [value if name == field else getattr(REPORT, name) for name in REPORT.__struct_fields__]

    with pytest.raises(MalformedError):
        decode_report(msgspec.msgpack.encode(fields))


def test_a_twelfth_field_is_malformed():
    """A new form is a new wire version."""
    fields = [getattr(REPORT, name) for name in REPORT.__struct_fields__]

    assert decode_report(msgspec.msgpack.encode(fields)) == REPORT
    with pytest.raises(MalformedError):
        decode_report(msgspec.msgpack.encode([*fields, 0]))
