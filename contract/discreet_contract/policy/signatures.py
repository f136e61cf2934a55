"""Ed25519 signatures by root keys, over a message that begins with what it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from nacl.signing import VerifyKey

from discreet_contract.durations import END

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nacl.signing import SigningKey


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One root's signature; both in hex."""

    root: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}" + END)]
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}" + END)]


def sign(message: bytes, keys: Iterable[SigningKey]) -> tuple[Signature, ...]:
    """A signature by each key, in their order."""
    return tuple(Signature(key.verify_key.encode().hex(), key.sign(message).signature.hex()) for key in keys)


def pinned_signer(signatures: Iterable[Signature], message: bytes, roots: Collection[str]) -> str | None:
    """The first pinned root that signed; None where none did. Raises BadSignatureError if a pinned one does not fit."""
    pinned = [signature for signature in signatures if signature.root in roots]
    for signature in pinned:
        VerifyKey(bytes.fromhex(signature.root)).verify(message, bytes.fromhex(signature.signature))
    return pinned[0].root if pinned else None
