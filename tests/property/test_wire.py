"""Any report survives its bytes; any other bytes are refused in one of two ways, and in no other."""

import contextlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from discreet_contract.envelope import (
    HEADER_BYTES,
    MAGIC,
    OVERHEAD_BYTES,
    EnvelopeRefusedError,
    encode_key_id,
    seal,
    unseal,
)
from discreet_contract.wire import (
    ENVELOPE_SIZES,
    WIRE_VERSION,
    MalformedError,
    Receipt,
    Report,
    decode_receipts,
    decode_report,
    encode_receipts,
    encode_report,
    receipt_bucket,
    receipt_tag,
)

KEY = PrivateKey(b"k" * 32)
KEYS = {encode_key_id("2026q4"): KEY}

text = st.text(st.characters(codec="utf-8"), max_size=64)
reports = st.builds(
    Report,
    wire_version=st.just(WIRE_VERSION),
    fleet=text,
    policy_hash=st.binary(min_size=16, max_size=16),
    metric=text,
    window_start=st.integers(-(2**63), 2**63 - 1),
    mechanism=st.text(st.characters(codec="utf-8"), max_size=16),
    payload=st.binary(max_size=2048),
    dimensions=st.lists(st.tuples(text, text), max_size=8).map(tuple),
    report_id=st.binary(min_size=16, max_size=16),
    receipt_key=st.binary(min_size=32, max_size=32),
)
receipts = st.lists(
    st.builds(
        Receipt,
        report_id=st.binary(min_size=16, max_size=16),
        verdict=st.integers(0, 255),
        tag=st.binary(min_size=16, max_size=16),
    ),
    max_size=20,
).map(tuple)


def encoded(report):
    """Bytes of a report, or None where it is too large for any envelope."""
    try:
        return encode_report(report, overhead=OVERHEAD_BYTES)
    except MalformedError:
        return None


@given(reports)
def test_a_report_survives_its_bytes(report):
    """Everything but the padding, which says nothing."""
    body = encoded(report)
    if body is None:
        return
    again = decode_report(body)

    assert msgspec.structs.replace(again, padding=b"") == report
    assert set(again.padding) <= {0}


@given(reports)
def test_every_envelope_has_one_of_four_sizes(report):
    """Length tells no more than two bits."""
    body = encoded(report)
    if body is None:
        return
    envelope = seal(body, "2026q4", KEY.public_key)

    assert len(envelope) in ENVELOPE_SIZES
    assert unseal(envelope, KEYS) == body


@pytest.mark.parametrize("size", ENVELOPE_SIZES)
def test_every_length_of_payload_reaches_a_size_exactly(size):
    """Across the border of a size, no length is left between two."""
    report = Report(WIRE_VERSION, "f", b"p" * 16, "m", 0, "rr-1", b"", (), b"i" * 16, b"k" * 32)
    lengths = [
        len(encode_report(msgspec.structs.replace(report, payload=bytes(n)), overhead=OVERHEAD_BYTES)) + OVERHEAD_BYTES
        for n in range(size // 2 - 400 if size > 800 else 0, min(size, 2048))
    ]

    assert set(lengths) <= set(ENVELOPE_SIZES)
    assert lengths == sorted(lengths)


def test_a_report_that_fits_no_envelope_is_refused_with_advice():
    """Too many dimensions."""
    wide = tuple(("d" * 64, "ä" * 64) for _ in range(8))
    report = Report(WIRE_VERSION, "f", b"p" * 16, "m", 0, "rr-1", bytes(2048), wide, b"i" * 16, b"k" * 32)
    with pytest.raises(MalformedError, match="over the largest envelope") as caught:
        encode_report(msgspec.structs.replace(report, payload=bytes(4096)), overhead=OVERHEAD_BYTES)

    assert "fewer dimensions" in caught.value.hint


@given(reports, st.data())
@example(Report(1, "f", b"p" * 16, "m", 0, "rr-1", b"\x01", (), b"i" * 16, b"k" * 32), None)
def test_altered_bytes_are_a_report_or_malformed(report, data):
    """Flipped, cut, lengthened: never another exception, and its text quotes no byte."""
    body = encoded(report)
    if body is None:
        return
    if data is None:  # the found bug: a name that is no UTF-8 raised UnicodeDecodeError
        altered = body.replace(b"\xa1f", b"\xa1\xff", 1)
    else:
        altered = bytearray(body)
        for position, bit in data.draw(
            st.lists(st.tuples(st.integers(0, 200), st.integers(0, 7)), min_size=1, max_size=6)
        ):
            altered[position % len(altered)] ^= 1 << bit
        altered = bytes(altered[: data.draw(st.integers(0, len(altered)))]) + data.draw(st.binary(max_size=8))
    try:
        assert isinstance(decode_report(altered), Report)
    except MalformedError as exc:
        assert str(exc) == "not a report of a known form"  # noqa: PT017
        assert exc.__cause__ is None  # noqa: PT017


@given(reports, st.binary(min_size=1, max_size=40))
def test_trailing_bytes_are_malformed(report, extra):
    """A report ends where it ends."""
    body = encoded(report)
    if body is not None:
        with pytest.raises(MalformedError):
            decode_report(body + extra)


@given(reports, st.data())
def test_a_cut_report_is_malformed(report, data):
    """Anywhere."""
    body = encoded(report)
    if body is not None:
        with pytest.raises(MalformedError):
            decode_report(body[: data.draw(st.integers(0, len(body) - 1))])


@given(st.binary(max_size=300))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdc\xff\xff" * 100)
@example(b"\x91" * 100_000)
@example(b"\xc6\xff\xff\xff\xff")
def test_random_bytes_are_malformed(body):
    """Announced sizes are not believed, nesting is not followed."""
    with contextlib.suppress(MalformedError):
        decode_receipts(body)
    with pytest.raises(MalformedError):
        decode_report(body)


@given(receipts)
def test_a_receipts_message_survives_its_bytes(batch):
    """Any number of them, any verdict byte."""
    assert decode_receipts(encode_receipts(batch)) == batch


@given(receipts, st.data())
def test_altered_receipts_are_receipts_or_malformed(batch, data):
    """A broker may send anything."""
    body = bytearray(encode_receipts(batch))
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(MalformedError):
        decode_receipts(bytes(body) + data.draw(st.binary(max_size=3)))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.integers(0, 255), st.data())
def test_a_receipt_is_authentic_only_as_it_was_written(key, report_id, verdict, data):
    """Another verdict, another report, another key, another tag: refused."""
    receipt = Receipt(report_id, verdict, receipt_tag(key, report_id, verdict))
    other_key = data.draw(st.binary(min_size=32, max_size=32).filter(lambda other: other != key))
    flipped = bytearray(receipt.tag)
    flipped[data.draw(st.integers(0, 15))] ^= 1 << data.draw(st.integers(0, 7))

    assert receipt.authentic(key)
    assert not receipt.authentic(other_key)
    assert not msgspec.structs.replace(receipt, verdict=(verdict + data.draw(st.integers(1, 255))) % 256).authentic(key)
    assert not msgspec.structs.replace(receipt, report_id=report_id[1:] + bytes([report_id[0] ^ 1])).authentic(key) or (
        report_id[1:] + bytes([report_id[0] ^ 1]) == report_id
    )
    assert not msgspec.structs.replace(receipt, tag=bytes(flipped)).authentic(key)


@given(st.data())
def test_an_altered_envelope_is_refused(data):
    """Every bit of header and box counts."""
    envelope = bytearray(seal(bytes(256 - OVERHEAD_BYTES), "2026q4", KEY.public_key))
    envelope[data.draw(st.integers(0, 255))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(EnvelopeRefusedError) as caught:
        unseal(bytes(envelope), KEYS)
    assert caught.value.rule in {"MAGIC", "KEY_UNKNOWN", "UNOPENABLE"}


@given(st.binary(max_size=600))
def test_random_bytes_are_no_envelope(envelope):
    """Refused by the first check they fail."""
    with pytest.raises(EnvelopeRefusedError):
        unseal(envelope, KEYS)


@given(st.sampled_from(ENVELOPE_SIZES), st.binary(max_size=64))
def test_a_good_header_over_garbage_is_unopenable(size, garbage):
    """All-zero and other weak points included."""
    envelope = (MAGIC + encode_key_id("2026q4") + garbage).ljust(size, b"\0")

    with pytest.raises(EnvelopeRefusedError) as caught:
        unseal(envelope, KEYS)
    assert caught.value.rule == "UNOPENABLE"
    assert HEADER_BYTES == 12


@given(st.binary(min_size=16, max_size=16), st.sampled_from([1, 16, 256, 4096]))
def test_every_report_has_one_bucket_of_those_that_exist(report_id, buckets):
    """The first bytes of its id, in hex."""
    bucket = int(receipt_bucket(report_id, buckets), 16)

    assert 0 <= bucket < buckets
    assert bucket == int.from_bytes(report_id[:2], "big") // (65_536 // buckets)
