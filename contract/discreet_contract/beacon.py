"""The aggregator's word for what time it is, so that a device that was without power learns how long.

Signed with the key that envelopes are sealed to, which every policy names: XEdDSA (Perrin 2016,
"The XEdDSA and VXEdDSA signature schemes", §2.2 to 2.4) turns an X25519 key into an Ed25519 one. Scalars and points
are libsodium's, and verifying is its Ed25519. MessagePack array: form 1, key id, time in ms, signature.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import VerifyKey

from discreet_contract.envelope import KEY_ID_BYTES, encode_key_id
from discreet_contract.errors import SignatureRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nacl.public import PrivateKey

    from discreet_contract.policy.model import AggregatorKey

MAX_BEACON_BYTES = 256
_SIGNED = b"discreet time 1\0"
_P = 2**255 - 19
_HASH_1 = (2**256 - 2).to_bytes(32, "little")  # the prefix that XEdDSA sets before the hash of a nonce


class _Beacon(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    form: Literal[1]
    key_id: Annotated[bytes, msgspec.Meta(min_length=KEY_ID_BYTES, max_length=KEY_ID_BYTES)]
    time_ms: Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


def make_beacon(fleet: str, time_ms: int, key_id: str, key: PrivateKey) -> bytes:
    """A statement that it is `time_ms` now, signed by the aggregator's key of this id."""
    signature = _sign(_statement(fleet, time_ms), bytes(key))
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
        raise _refused("FORM", "not a time beacon") from exc
    named = next((key for key in keys if encode_key_id(key.id) == beacon.key_id), None)
    if named is None:
        raise _refused("KEY", "signed by a key that the policy does not name")
    if not _midnight_ms(named.from_) <= beacon.time_ms < _midnight_ms(named.until):
        raise _refused("KEY", "signed for a day on which its key is not valid")
    try:
        verify_key = VerifyKey(_edwards(bytes.fromhex(named.public_key)))
        verify_key.verify(_statement(fleet, beacon.time_ms), beacon.signature)
    except (BadSignatureError, CryptoError, ValueError) as exc:
        raise _refused("ALTERED", "its signature does not fit") from exc
    return beacon.time_ms


def _midnight_ms(day: str) -> int:
    return round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def _statement(fleet: str, time_ms: int) -> bytes:
    return _SIGNED + msgspec.msgpack.encode([fleet, time_ms])


def _edwards(montgomery: bytes) -> bytes:
    """The Ed25519 public key with sign bit 0 that goes with an X25519 one: y = (u − 1)/(u + 1)."""
    u = int.from_bytes(montgomery, "little") & (2**255 - 1)
    y = (u - 1) * pow(u + 1, -1, _P) % _P  # ValueError where u = −1, which is no key
    return y.to_bytes(32, "little")


def _sign(message: bytes, private: bytes) -> bytes:
    scalar = bytearray(private)
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    secret = _reduced(bytes(scalar))
    public = bindings.crypto_scalarmult_ed25519_base_noclamp(secret)
    if public[31] & 128:  # the key pair whose public half has sign bit 0
        secret = bindings.crypto_core_ed25519_scalar_negate(secret)
        public = bindings.crypto_scalarmult_ed25519_base_noclamp(secret)
    nonce = _reduced(hashlib.sha512(_HASH_1 + secret + message + secrets.token_bytes(64)).digest())
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = _reduced(hashlib.sha512(point + public + message).digest())
    product = bindings.crypto_core_ed25519_scalar_mul(challenge, secret)
    return point + bindings.crypto_core_ed25519_scalar_add(nonce, product)


def _reduced(number: bytes) -> bytes:
    """A little-endian number modulo the group's order; libsodium takes 64 bytes."""
    return bindings.crypto_core_ed25519_scalar_reduce(number.ljust(64, b"\0"))


def _refused(rule: str, message: str) -> SignatureRefusedError:
    return SignatureRefusedError(f"time refused: {rule}: {message}", rule=rule, hint="look who may write this topic")
