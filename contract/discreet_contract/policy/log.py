"""The transparency log of a fleet's policies, as plain files in a folder that git can carry.

`entries/000001.json` … hold each released policy exactly as it was signed; `head.json` holds the
signed root of the Merkle tree over them. An entry is written before the head that covers it, so
that a power cut leaves the old log or the new one; what lies beyond the head does not count.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec
from nacl.exceptions import BadSignatureError

from discreet_contract.durations import END
from discreet_contract.errors import ConfigError, SignatureRefusedError
from discreet_contract.files import read_or_explain, write_or_explain
from discreet_contract.policy.compile import canonicalize
from discreet_contract.policy.merkle import inclusion_proof, is_included, leaf_hash, tree_root
from discreet_contract.policy.release import read_unverified, verify_policy
from discreet_contract.policy.signatures import Signature, pinned_signer, sign

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from nacl.signing import SigningKey

    from discreet_contract.policy.release import VerifiedPolicy

_SIGNED = b"discreet log head 1\0"
_HINT = "restore the folder from git; a log is only ever appended to"


class LogHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed statement: at this time the log of this fleet had this many entries under this root hash."""

    fleet: str
    size: Annotated[int, msgspec.Meta(ge=1)]
    root: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}" + END)]
    time_ms: Annotated[int, msgspec.Meta(ge=0)]
    signatures: tuple[Signature, ...] = ()

    def signed_part(self) -> bytes:
        """What the signatures are over."""
        return _SIGNED + canonicalize({key: getattr(self, key) for key in ("fleet", "size", "root", "time_ms")})

    def check_signature(self, roots: Collection[str]) -> str:
        """The pinned root that signed this head. Raises SignatureRefusedError."""
        try:
            root = pinned_signer(self.signatures, self.signed_part(), roots)
        except BadSignatureError as exc:
            raise SignatureRefusedError("log refused: HEAD_ALTERED: its signature does not fit", hint=_HINT) from exc
        if root is None:
            hint = "compare the root key with the one pinned on the devices"
            raise SignatureRefusedError("log refused: HEAD_UNSIGNED: no signature by a pinned root", hint=hint)
        return root


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log as it stood when it was opened; `append` gives the next one."""

    folder: Path
    entries: tuple[bytes, ...]  # signed policies, oldest first; version 1 is entries[0]
    head: LogHead | None  # None: nothing was ever released

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read a log; a folder that is not there is an empty one. Raises ConfigError where a file is missing."""
        path = folder / "head.json"
        if not path.exists():
            return cls(folder, (), None)
        try:
            head = msgspec.json.decode(read_or_explain(path, what="the log's head", hint=_HINT), type=LogHead)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise SignatureRefusedError(f"{path}:1: log refused: FORM: not a log head", hint=_HINT) from exc
        what = "an entry of the log"
        entries = tuple(read_or_explain(_entry(folder, n), what=what, hint=_HINT) for n in range(1, head.size + 1))
        log = cls(folder, entries, head)
        if log.root().hex() != head.root:
            raise SignatureRefusedError(f"{path}:1: log refused: ROOT: the entries are not those it signs", hint=_HINT)
        return log

    def root(self) -> bytes:
        """Root hash over the entries."""
        return tree_root(self.leaves())

    def leaves(self) -> list[bytes]:
        """Leaf hashes, oldest first."""
        return [leaf_hash(entry) for entry in self.entries]

    def verify(self, roots: Collection[str]) -> list[VerifiedPolicy]:
        """Every policy ever released, each signed by a pinned root, in order, under a signed head.

        Raises SignatureRefusedError naming the first entry that is not.
        """
        verified: list[VerifiedPolicy] = []
        for number, entry in enumerate(self.entries, start=1):
            path = _entry(self.folder, number)
            try:
                policy = verify_policy(entry, roots)
            except SignatureRefusedError as exc:
                raise SignatureRefusedError(f"{path}:1: {exc}", hint=_HINT) from exc
            if policy.policy.version != number or (self.head is not None and policy.policy.fleet != self.head.fleet):
                raise SignatureRefusedError(
                    f"{path}:1: log refused: ORDER: not version {number} of its fleet", hint=_HINT
                )
            verified.append(policy)
        if self.head is not None:
            self.head.check_signature(roots)
        return verified

    def append(self, signed: bytes, keys: Sequence[SigningKey], now_ms: int) -> PolicyLog:
        """The log with one more entry, on disk when this returns. Raises ConfigError for another fleet or version."""
        policy = read_unverified(signed)
        if self.head is not None and policy.fleet != self.head.fleet:
            raise ConfigError(f"{self.folder}: this log belongs to fleet {self.head.fleet}", hint="take another --log")
        number = len(self.entries) + 1
        if policy.version != number:
            raise ConfigError(f"{self.folder}: the next entry is version {number}", hint="set `version` in the policy")
        entries = (*self.entries, signed)
        root = tree_root([leaf_hash(entry) for entry in entries])
        head = LogHead(policy.fleet, number, root.hex(), now_ms)
        head = msgspec.structs.replace(head, signatures=sign(head.signed_part(), keys))
        self._write(_entry(self.folder, number), signed)
        self._write(self.folder / "head.json", canonicalize(msgspec.to_builtins(head)) + b"\n")
        return PolicyLog(self.folder, entries, head)

    def prove(self, version: int) -> dict[str, Any]:
        """Inclusion proof of a version, as JSON builtins; hashes in hex. Raises ConfigError for a version not in it."""
        if self.head is None or not 1 <= version <= len(self.entries):
            raise ConfigError(f"{self.folder}: no version {version}", hint="see `discreet policy log list`")
        leaves = self.leaves()
        proof = inclusion_proof(leaves, version - 1)
        assert is_included(version - 1, len(leaves), leaves[version - 1], proof, self.root())  # noqa: S101 - our own
        return {
            "index": version - 1,
            "leaf": leaves[version - 1].hex(),
            "proof": [item.hex() for item in proof],
            "head": json.loads(msgspec.json.encode(self.head)),
        }

    def _write(self, path: Path, content: bytes) -> None:
        hint = "choose a --log folder that you may write"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"cannot make {path.parent}: {exc.strerror}", hint=hint) from exc
        write_or_explain(path, content, what="the log", hint=hint, mode=0o644)


def _entry(folder: Path, number: int) -> Path:
    return folder / "entries" / f"{number:06}.json"
