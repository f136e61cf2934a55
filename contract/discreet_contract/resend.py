"""The aggregator asks for reports again: it was restored from an old backup and knows less than it gave receipts for.

A statement under the key that envelopes are sealed to (see `xeddsa`), retained on a topic of its own.
MessagePack array: form 1, key id, time in ms, first window in s, reason, signature.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from discreet_contract.envelope import KEY_ID_BYTES, encode_key_id
from discreet_contract.xeddsa import is_signed, is_valid_at, sign

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nacl.public import PrivateKey

    from discreet_contract.policy.model import AggregatorKey

MAX_RESEND_BYTES = 1_024
MAX_REASON_LENGTH = 200
AHEAD_MS = 86_400_000  # a request may be so far ahead of a device's clock
_SIGNED = b"discreet resend 1\0"


class ResendRefusal(StrEnum):
    """Closed list of why a request is not obeyed."""

    FORM = "FORM"  # not a request
    KEY = "KEY"  # of no key that the policy names, or not of its days
    ALTERED = "ALTERED"  # the signature does not fit: altered, forged, or another fleet's
    EXPIRED = "EXPIRED"  # older than the late horizon
    EARLY = "EARLY"  # more than a day ahead of the device's clock

    @property
    def may_pass(self) -> bool:
        """Whether a clock that is set, or a policy that comes, can make it one to obey."""
        return self not in {ResendRefusal.FORM, ResendRefusal.ALTERED}


@dataclass(frozen=True, slots=True)
class Resend:
    """What was asked, and when."""

    time_ms: int
    from_start: int  # second: windows that start then or later
    reason: str


class _Request(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    form: Literal[1]
    key_id: Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]
    time_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    from_start: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REASON_LENGTH)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


def make_resend(fleet: str, asked: Resend, key_id: str, key: PrivateKey) -> bytes:
    """The request, signed by the aggregator's key of this id."""
    signature = sign(_statement(fleet, asked), bytes(key))
    request = _Request(1, encode_key_id(key_id), asked.time_ms, asked.from_start, asked.reason, signature)
    return msgspec.msgpack.encode(request)


def read_resend(content: bytes, fleet: str, keys: Iterable[AggregatorKey]) -> Resend | ResendRefusal:
    """What one of the policy's `keys` asks for, on one of its own days."""
    if len(content) > MAX_RESEND_BYTES:
        return ResendRefusal.FORM
    try:
        request = msgspec.msgpack.decode(content, type=_Request)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ResendRefusal.FORM
    named = next((key for key in keys if encode_key_id(key.id) == request.key_id), None)
    if named is None or not is_valid_at(named, request.time_ms):
        return ResendRefusal.KEY
    asked = Resend(request.time_ms, request.from_start, request.reason)
    if not is_signed(_statement(fleet, asked), request.signature, bytes.fromhex(named.public_key)):
        return ResendRefusal.ALTERED
    return asked


def judge_resend(asked: Resend, now_ms: int, horizon_ms: int) -> ResendRefusal | None:
    """Why a device does not obey it now, or None."""
    if asked.time_ms < now_ms - horizon_ms:
        return ResendRefusal.EXPIRED
    return ResendRefusal.EARLY if asked.time_ms > now_ms + AHEAD_MS else None


def _statement(fleet: str, asked: Resend) -> bytes:
    return _SIGNED + msgspec.msgpack.encode([fleet, asked.time_ms, asked.from_start, asked.reason])
