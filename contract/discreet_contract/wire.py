"""The bytes that leave a device and the bytes that come back; pinned by tests/vectors/.

A report is a MessagePack array of eleven elements whose last one is padding, so that every
envelope has one of four lengths. A receipt is authenticated with the one-use key that only
the sealed report carried, so neither the broker nor another device can forge one.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import IntEnum
from typing import Annotated, TypeAlias

import msgspec

from discreet_contract.errors import PermanentError

WIRE_VERSION = 1
ENVELOPE_SIZES = (256, 512, 1024, 4096)  # bytes, whole envelope
REPORT_ID_BYTES = 16
RECEIPT_KEY_BYTES = 32
TAG_BYTES = 16
POLICY_HASH_BYTES = 16  # of the 32-byte policy hash; enough to name one policy of a fleet

Dimensions: TypeAlias = tuple[tuple[str, str], ...]


class Verdict(IntEnum):
    """What the aggregator made of a report. The first verdict on a report id is repeated for ever."""

    ACCEPTED = 0
    DUPLICATE = 1
    WRONG_FLEET = 2
    WIRE_VERSION_UNKNOWN = 3
    METRIC_UNKNOWN = 4
    MECHANISM_MISMATCH = 5
    DIMENSIONS_ILLEGAL = 6
    WINDOW_ILLEGAL = 7
    WINDOW_TOO_LATE = 8
    PAYLOAD_ILLEGAL = 9

    @property
    def counted(self) -> bool:
        """Whether the report is part of the totals."""
        return self in {Verdict.ACCEPTED, Verdict.DUPLICATE}


def verdict_name(verdict: int) -> str:
    """A verdict's name; a newer aggregator may know reasons that this version does not."""
    known = {member.value: member.name for member in Verdict}
    return known.get(verdict, f"VERDICT_{verdict}")


class Report(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One randomised summary of one device, metric and window. Carries no device identity."""

    wire_version: int
    fleet: Annotated[str, msgspec.Meta(max_length=64)]
    policy_hash: Annotated[bytes, msgspec.Meta(min_length=POLICY_HASH_BYTES, max_length=POLICY_HASH_BYTES)]
    metric: Annotated[str, msgspec.Meta(max_length=64)]
    window_start: int  # seconds
    mechanism: Annotated[str, msgspec.Meta(max_length=16)]
    payload: Annotated[bytes, msgspec.Meta(max_length=2048)]
    dimensions: Annotated[Dimensions, msgspec.Meta(max_length=8)]
    report_id: Annotated[bytes, msgspec.Meta(min_length=REPORT_ID_BYTES, max_length=REPORT_ID_BYTES)]
    receipt_key: Annotated[bytes, msgspec.Meta(min_length=RECEIPT_KEY_BYTES, max_length=RECEIPT_KEY_BYTES)]
    padding: bytes = b""


class Receipt(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The aggregator's durable word on one report."""

    report_id: Annotated[bytes, msgspec.Meta(min_length=REPORT_ID_BYTES, max_length=REPORT_ID_BYTES)]
    verdict: Annotated[int, msgspec.Meta(ge=0, le=255)]
    tag: Annotated[bytes, msgspec.Meta(min_length=TAG_BYTES, max_length=TAG_BYTES)]

    def authentic(self, receipt_key: bytes) -> bool:
        """Whether whoever wrote this receipt had opened the report it speaks of."""
        return hmac.compare_digest(self.tag, receipt_tag(receipt_key, self.report_id, self.verdict))


class MalformedError(PermanentError):
    """Bytes that are not a report or not a receipts message."""


_report_decoder = msgspec.msgpack.Decoder(Report)
_receipts_decoder = msgspec.msgpack.Decoder(tuple[Receipt, ...])


def encode_report(report: Report, *, overhead: int, at_least: int = ENVELOPE_SIZES[0]) -> bytes:
    """MessagePack of `report`, padded so that with `overhead` it has one of ENVELOPE_SIZES, at least that one."""
    fields = [getattr(report, name) for name in report.__struct_fields__[:-1]]
    body = b"\x9b" + b"".join(msgspec.msgpack.encode(field) for field in fields)
    fixed = len(body) + 3 + overhead  # 3: padding is always written as bin 16, so every length can be reached
    for size in ENVELOPE_SIZES:
        if max(fixed, at_least) <= size:
            filler = size - fixed
            return body + b"\xc5" + filler.to_bytes(2, "big") + bytes(filler)
    raise MalformedError(
        f"a report of metric {report.metric} is {fixed} bytes, over the largest envelope ({ENVELOPE_SIZES[-1]})",
        hint="declare fewer dimensions, or a mechanism with a smaller payload",
    )


def decode_report(body: bytes) -> Report:
    """Inverse of `encode_report`; raises MalformedError on anything else, without quoting the bytes."""
    try:
        return _report_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedError("not a report of a known form") from None  # the cause would quote the bytes


def encode_receipts(receipts: tuple[Receipt, ...]) -> bytes:
    """One receipts message."""
    return msgspec.msgpack.encode(receipts)


def decode_receipts(body: bytes) -> tuple[Receipt, ...]:
    """Inverse of `encode_receipts`; raises MalformedError."""
    try:
        return _receipts_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise MalformedError("not a receipts message") from None


def receipt_tag(receipt_key: bytes, report_id: bytes, verdict: int) -> bytes:
    """Keyed BLAKE2b-128 over report id and verdict byte."""
    return hashlib.blake2b(
        report_id + bytes([verdict]), key=receipt_key, digest_size=TAG_BYTES, person=b"discreet-receipt"
    ).digest()


def make_report_id(device_secret: bytes, fleet: str, metric: str, window_start: int) -> bytes:
    """Keyed BLAKE2b-128: the same for every attempt at one (metric, window), a stranger to every other one."""
    message = msgspec.msgpack.encode([fleet, metric, window_start])
    return hashlib.blake2b(message, key=device_secret, digest_size=REPORT_ID_BYTES, person=b"discreet-report").digest()


def reports_topic(fleet: str) -> str:
    """Where devices publish."""
    return f"discreet/{WIRE_VERSION}/{fleet}/reports"


def policy_topic(fleet: str) -> str:
    """Where the newest policy is retained."""
    return f"discreet/{WIRE_VERSION}/{fleet}/policy"


def time_topic(fleet: str) -> str:
    """Where the aggregator says what time it is."""
    return f"discreet/{WIRE_VERSION}/{fleet}/time"


def resend_topic(fleet: str) -> str:
    """Where the aggregator asks for reports again; retained."""
    return f"discreet/{WIRE_VERSION}/{fleet}/resend"


def receipts_topic(fleet: str, bucket: str) -> str:
    """Where the aggregator answers; `bucket` may be "+" for a subscriber to all of them."""
    return f"discreet/{WIRE_VERSION}/{fleet}/receipts/{bucket}"


def receipt_bucket(report_id: bytes, buckets: int) -> str:
    """Which of `buckets` (a power of two up to 65,536) a report's receipt is published to, in hex."""
    return f"{int.from_bytes(report_id[:2], 'big') * buckets >> 16:x}"
