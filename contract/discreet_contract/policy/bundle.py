"""What is delivered to devices: a signed policy with the proof that the transparency log holds it.

One JSON object, as a file or as a retained message. The proofs lead from the policy, and from
the log as it was at earlier sizes, to one signed head, so that a device which has seen any of
these sizes can tell whether the log was only ever appended to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from discreet_contract.durations import END
from discreet_contract.errors import ConfigError, PermanentError, SignatureRefusedError
from discreet_contract.policy.compile import canonicalize
from discreet_contract.policy.log import MAX_SIZE, LogHead
from discreet_contract.policy.merkle import consistency_proof, inclusion_proof
from discreet_contract.policy.succession import MAX_SUCCESSIONS, Succession

if TYPE_CHECKING:
    from discreet_contract.policy.log import PolicyLog

MAX_BUNDLE_BYTES = 1_000_000  # of which a policy with everything in it takes a fifth
EARLIER_SIZES = 64  # proofs from so many latest sizes; six hashes each: about 30 kB at the most

_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}" + END)]
_Proof = Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=64)]


class Consistency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proof (RFC 9162 §2.1.4) that the log of `size` entries grew into that of the head."""

    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIZE)]
    proof: _Proof


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed policy, its place in the log, and what leads a device to believe it."""

    bundle: Literal[1]
    policy: dict[str, Any]  # the log's entry: compiled policy and signatures
    inclusion: _Proof  # from the entry to the head's root (RFC 9162 §2.1.3)
    head: LogHead
    consistency: Annotated[tuple[Consistency, ...], msgspec.Meta(max_length=4096)] = ()
    successions: Annotated[tuple[Succession, ...], msgspec.Meta(max_length=MAX_SUCCESSIONS)] = ()

    def entry(self) -> bytes:
        """The log entry byte for byte, as `release` wrote it."""
        return canonicalize(self.policy) + b"\n"

    def inclusion_hashes(self) -> list[bytes]:
        """The inclusion proof as bytes."""
        return [bytes.fromhex(item) for item in self.inclusion]

    def consistency_hashes(self, size: int) -> list[bytes] | None:
        """The proof from an earlier size as bytes; None where the bundle has none."""
        for item in self.consistency:
            if item.size == size:
                return [bytes.fromhex(one) for one in item.proof]
        return None


def make_bundle(log: PolicyLog, *, earliest: int | None = None) -> bytes:
    """The newest release of a log as it is delivered. `earliest`: the oldest size to prove growth from.

    Raises ConfigError for an empty log, or where the bundle would be larger than a device takes.
    """
    head = log.head
    if head is None:
        raise ConfigError(f"{log.folder}: nothing was released", hint="release a policy with `discreet policy release`")
    leaves = log.leaves()
    first = max(head.size - EARLIER_SIZES, 1) if earliest is None else earliest
    content = canonicalize(
        msgspec.to_builtins(
            Bundle(
                bundle=1,
                policy=msgspec.json.decode(log.entries[-1]),
                inclusion=_hex(inclusion_proof(leaves, head.size - 1)),
                head=head,
                consistency=tuple(
                    Consistency(size, _hex(consistency_proof(leaves, size))) for size in range(first, head.size)
                ),
                successions=log.successions,
            )
        )
    )
    if len(content) >= MAX_BUNDLE_BYTES:
        raise ConfigError(
            f"{log.folder}: {len(content)} bytes to deliver, and devices take {MAX_BUNDLE_BYTES}",
            hint="make the policy smaller, or prove growth from a later size",
        )
    return content + b"\n"


def read_bundle(content: bytes) -> Bundle:
    """The form only: nothing in it is believed yet. Raises SignatureRefusedError: SIZE, FORM."""
    if len(content) > MAX_BUNDLE_BYTES:
        raise _refused("SIZE", f"a bundle is at most {MAX_BUNDLE_BYTES} bytes")
    try:
        bundle = msgspec.json.decode(content, type=Bundle)
        bundle.entry()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, PermanentError) as exc:
        raise _refused("FORM", "this is no policy with its proofs; make one with `discreet policy publish`") from exc
    return bundle


def _hex(hashes: list[bytes]) -> tuple[str, ...]:
    return tuple(item.hex() for item in hashes)


def _refused(rule: str, message: str) -> SignatureRefusedError:
    return SignatureRefusedError(f"policy refused: {rule}: {message}", rule=rule, hint="publish or fetch it again")
