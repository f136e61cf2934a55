"""The aggregator's word for what time it is, so that a device that was without power learns how long.

Signed with the key that envelopes are sealed to, which every policy names; see `xeddsa`.
MessagePack array: form 1, key id, time in ms, signature.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from discreet_contract.envelope import KEY_ID_BYTES, encode_key_id
from discreet_contract.errors import SignatureRefusedError
from discreet_contract.xeddsa import is_signed, is_valid_at, sign

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nacl.public import PrivateKey

    from discreet_contract.policy.model import AggregatorKey

MAX_BEACON_BYTES = 256
_SIGNED = b"discreet time 1\0"


class BeaconRefusal(StrEnum):
    """Closed list of why a beacon is not believed; the `rule` of what `read_beacon` raises."""

    FORM = "FORM"  # not a beacon
    KEY = "KEY"  # of no key that the policy names, or not of its days
    ALTERED = "ALTERED"  # the signature does not fit: altered, forged, or another fleet's


class _Beacon(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    form: Literal[1]
    key_id: Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]
    time_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


def make_beacon(fleet: str, time_ms: int, key_id: str, key: PrivateKey) -> bytes:
    """A statement that it is `time_ms` now, signed by the aggregator's key of this id."""
    signature = sign(_statement(fleet, time_ms), bytes(key))
    return msgspec.msgpack.encode(_Beacon(1, encode_key_id(key_id), time_ms, signature))


def read_beacon(content: bytes, fleet: str, keys: Iterable[AggregatorKey]) -> int:
    """The time (ms) that one of the policy's `keys` signed. Raises SignatureRefusedError.

    A key speaks of its own days only: one that was stolen after its time cannot lead a device further.
    """
    try:
        if len(content) > MAX_BEACON_BYTES:
            raise msgspec.ValidationError("too long")
        beacon = msgspec.msgpack.decode(content, type=_Beacon)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _refused(BeaconRefusal.FORM, "not a time beacon") from exc
    named = next((key for key in keys if encode_key_id(key.id) == beacon.key_id), None)
    if named is None:
        raise _refused(BeaconRefusal.KEY, "signed by a key that the policy does not name")
    if not is_valid_at(named, beacon.time_ms):
        raise _refused(BeaconRefusal.KEY, "signed for a day on which its key is not valid")
    if not is_signed(_statement(fleet, beacon.time_ms), beacon.signature, bytes.fromhex(named.public_key)):
        raise _refused(BeaconRefusal.ALTERED, "its signature does not fit")
    return beacon.time_ms


def _statement(fleet: str, time_ms: int) -> bytes:
    return _SIGNED + msgspec.msgpack.encode([fleet, time_ms])


def _refused(rule: BeaconRefusal, message: str) -> SignatureRefusedError:
    return SignatureRefusedError(f"time refused: {rule}: {message}", rule=rule, hint="look who may write this topic")
