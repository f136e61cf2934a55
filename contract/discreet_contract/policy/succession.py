"""Root keys change hands: the old root signs that from a version on the new one signs instead.

A device pins roots once and follows these statements; one that it has followed it keeps, so that
the old key, should it leak later, can release nothing more to that device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from discreet_contract.durations import END
from discreet_contract.errors import SignatureRefusedError
from discreet_contract.policy.compile import canonicalize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nacl.signing import SigningKey

_SIGNED = b"discreet root succession 1\0"
_KEY = msgspec.Meta(pattern=r"^[0-9a-f]{64}" + END)
MAX_SUCCESSIONS = 64


class Succession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`new` signs releases of `fleet` from version `from_version` on, and `old` no longer does; keys in hex."""

    fleet: str
    old: Annotated[str, _KEY]
    new: Annotated[str, _KEY]
    from_version: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    signature: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{128})?" + END)] = ""  # by `old`

    def signed_part(self) -> bytes:
        """What the signature is over."""
        return _SIGNED + canonicalize({key: getattr(self, key) for key in ("fleet", "old", "new", "from_version")})


def succeed(fleet: str, old: SigningKey, new: str, from_version: int) -> Succession:
    """The statement, signed by the old root."""
    statement = Succession(fleet, old.verify_key.encode().hex(), new, from_version)
    signature = old.sign(statement.signed_part()).signature.hex()
    return msgspec.structs.replace(statement, signature=signature)


def follow(pinned: Collection[str], statements: Iterable[Succession], *, fleet: str, version: int) -> frozenset[str]:
    """Roots that may sign `version`: the pinned ones and their successors."""
    roots = set(pinned)
    for statement in effective(pinned, statements, fleet=fleet):
        if statement.old in roots and statement.from_version <= version:
            roots.discard(statement.old)
            roots.add(statement.new)
    return frozenset(roots)


def effective(pinned: Collection[str], statements: Iterable[Succession], *, fleet: str) -> tuple[Succession, ...]:
    """The statements that count, in their order: each by a root that no earlier one has retired.

    What a stranger signed is passed over, so nobody but a root can fill a device's memory. A root's
    statement whose signature does not fit raises SignatureRefusedError.
    """
    roots = set(pinned)
    kept = []
    for statement in statements:
        if statement.fleet != fleet or statement.old not in roots:
            continue
        _check_signature(statement)
        roots.discard(statement.old)
        roots.add(statement.new)
        kept.append(statement)
    return tuple(kept)


def _check_signature(statement: Succession) -> None:
    try:
        VerifyKey(bytes.fromhex(statement.old)).verify(statement.signed_part(), bytes.fromhex(statement.signature))
    except (BadSignatureError, ValueError) as exc:
        raise SignatureRefusedError(
            "policy refused: SUCCESSION: a change of roots is not signed by the root it retires",
            rule="SUCCESSION",
            hint="fetch the policy again, or make the change anew with `discreet policy keys rotate`",
        ) from exc
