"""`b"dsc1"` · key id (8 bytes) · libsodium sealed box. What anybody on the way can read is the first twelve bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nacl.exceptions import CryptoError
from nacl.public import PublicKey, SealedBox

from discreet_contract.errors import PermanentError
from discreet_contract.wire import ENVELOPE_SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nacl.public import PrivateKey

MAGIC = b"dsc1"
KEY_ID_BYTES = 8
HEADER_BYTES = len(MAGIC) + KEY_ID_BYTES
OVERHEAD_BYTES = HEADER_BYTES + 48  # a sealed box adds an ephemeral public key and a tag


class EnvelopeRefusedError(PermanentError):
    """An envelope that cannot be opened; `rule` names the first check it failed."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


def encode_key_id(key_id: str) -> bytes:
    """A key's name as it stands in the header: ASCII, padded with zero bytes."""
    return key_id.encode("ascii").ljust(KEY_ID_BYTES, b"\0")


def is_usable_key(public_key: str) -> bool:
    """Whether something can be sealed to this key (hex); libsodium refuses points of low order, zero among them."""
    try:
        SealedBox(PublicKey(bytes.fromhex(public_key))).encrypt(b"")
    except (ValueError, CryptoError, RuntimeError):
        return False
    return True


def seal(body: bytes, key_id: str, public_key: PublicKey) -> bytes:
    """Whole envelope around an encoded report; only the aggregator's private key opens it."""
    return MAGIC + encode_key_id(key_id) + SealedBox(public_key).encrypt(body)


def unseal(envelope: bytes, private_keys: Mapping[bytes, PrivateKey]) -> bytes:
    """Encoded report inside `envelope`; `private_keys` by encoded key id. Raises EnvelopeRefusedError."""
    if len(envelope) not in ENVELOPE_SIZES:
        raise EnvelopeRefusedError("SIZE")
    if envelope[: len(MAGIC)] != MAGIC:
        raise EnvelopeRefusedError("MAGIC")
    key = private_keys.get(envelope[len(MAGIC) : HEADER_BYTES])
    if key is None:
        raise EnvelopeRefusedError("KEY_UNKNOWN")
    try:
        return SealedBox(key).decrypt(envelope[HEADER_BYTES:])
    except CryptoError as exc:
        raise EnvelopeRefusedError("UNOPENABLE") from exc
