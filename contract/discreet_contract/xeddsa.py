"""Signatures under the X25519 keys that envelopes are sealed to, so that one key in the policy serves for both.

XEdDSA (Perrin 2016, "The XEdDSA and VXEdDSA signature schemes", §2.2 to 2.4) turns an X25519 key into an Ed25519 one.
Scalars and points are libsodium's, and verifying is its Ed25519.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import VerifyKey

if TYPE_CHECKING:
    from discreet_contract.policy.model import AggregatorKey

_P = 2**255 - 19
_HASH_1 = (2**256 - 2).to_bytes(32, "little")  # the prefix that XEdDSA sets before the hash of a nonce


def sign(message: bytes, private: bytes) -> bytes:
    """64 bytes under an X25519 private key; others each time."""
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


def is_signed(message: bytes, signature: bytes, public: bytes) -> bool:
    """Whether the signature is that of the X25519 key pair with this public half."""
    try:
        VerifyKey(_edwards(public)).verify(message, signature)
    except (BadSignatureError, CryptoError, ValueError):
        return False
    return True


def is_valid_at(key: AggregatorKey, time_ms: int) -> bool:
    """Whether the key may speak of this moment: one that was stolen after its time leads nobody further."""
    return _midnight_ms(key.from_) <= time_ms < _midnight_ms(key.until)


def _midnight_ms(day: str) -> int:
    return round(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)


def _edwards(montgomery: bytes) -> bytes:
    """The Ed25519 public key with sign bit 0 that goes with an X25519 one: y = (u − 1)/(u + 1)."""
    u = int.from_bytes(montgomery, "little") & (2**255 - 1)
    y = (u - 1) * pow(u + 1, -1, _P) % _P  # ValueError where u = −1, which is no key
    return y.to_bytes(32, "little")


def _reduced(number: bytes) -> bytes:
    """A little-endian number modulo the group's order; libsodium takes 64 bytes."""
    return bindings.crypto_core_ed25519_scalar_reduce(number.ljust(64, b"\0"))
