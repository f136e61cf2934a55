"""The transparency log of a fleet's policies, as plain files in a folder that git can carry.

`entries/000001.json` … hold each released policy exactly as it was signed; `head.json` holds the
signed root of the Merkle tree over them, `successions.json` the changes of root keys. An entry is
written before the head that covers it, so that a power cut leaves the old log or the new one; what
lies beyond the head does not count.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

import msgspec
from nacl.exceptions import BadSignatureError

from discreet_contract.durations import END
from discreet_contract.errors import ConfigError, SignatureRefusedError
from discreet_contract.files import read_or_explain, write_or_explain
from discreet_contract.policy.compile import canonicalize
from discreet_contract.policy.merkle import consistency_proof, inclusion_proof, is_included, leaf_hash, tree_root
from discreet_contract.policy.release import read_unverified, signers_of, verify_policy
from discreet_contract.policy.signatures import Signature, pinned_signer, sign
from discreet_contract.policy.succession import MAX_SUCCESSIONS, Succession, follow, succeed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from nacl.signing import SigningKey

    from discreet_contract.policy.release import VerifiedPolicy

_SIGNED = b"discreet log head 1\0"
_WITNESSED = b"discreet log head witnessed 1\0"
MAX_SIZE = 1_000_000  # releases
_LAST_MS = 253_402_300_799_000  # the end of the year 9999
_HINT = "restore the folder from git; a log is only ever appended to"
HEAD = "head.json"
_SUCCESSIONS = "successions.json"
_T = TypeVar("_T")


class LogHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signed statement: at this time the log of this fleet had this many entries under this root hash."""

    fleet: str
    size: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIZE)]
    root: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}" + END)]
    time_ms: Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
    signatures: Annotated[tuple[Signature, ...], msgspec.Meta(max_length=16)] = ()
    witnesses: Annotated[tuple[Signature, ...], msgspec.Meta(max_length=16)] = ()

    def signed_part(self) -> bytes:
        """What the signatures are over."""
        return _SIGNED + self._statement()

    def witnessed_part(self) -> bytes:
        """What a witness signs: the same statement, under another name, so neither passes for the other."""
        return _WITNESSED + self._statement()

    def _statement(self) -> bytes:
        return canonicalize({key: getattr(self, key) for key in ("fleet", "size", "root", "time_ms")})

    def check_signature(self, roots: Collection[str]) -> str:
        """The pinned root that signed this head. Raises SignatureRefusedError."""
        try:
            root = pinned_signer(self.signatures, self.signed_part(), roots)
        except BadSignatureError as exc:
            raise _refused("HEAD_ALTERED", "its signature does not fit") from exc
        if root is None:
            hint = "compare the root key with the one pinned on the devices"
            raise _refused("HEAD_UNSIGNED", "no signature by a pinned root", hint=hint)
        return root

    def check_witness(self, witness: str) -> None:
        """Raise SignatureRefusedError unless this witness (public key in hex) signed the head too."""
        hint = "have the witness sign it with `discreet policy witness`, then publish again"
        try:
            signer = pinned_signer(self.witnesses, self.witnessed_part(), [witness])
        except BadSignatureError as exc:
            raise _refused("WITNESS_ALTERED", "the witness's signature does not fit", hint=hint) from exc
        if signer is None:
            raise _refused("WITNESS_MISSING", "the pinned witness has not signed this head", hint=hint)


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log as it stood when it was opened; `append` gives the next one."""

    folder: Path
    entries: tuple[bytes, ...]  # signed policies, oldest first; version 1 is entries[0]
    head: LogHead | None  # None: nothing was ever released
    successions: tuple[Succession, ...] = ()

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read a log; a folder that is not there is an empty one. Raises ConfigError where a file is missing."""
        path = folder / HEAD
        if not path.exists():
            return cls(folder, (), None)
        head = _decoded(path, LogHead, what="the log's head")
        what = "an entry of the log"
        entries = tuple(read_or_explain(_entry(folder, n), what=what, hint=_HINT) for n in range(1, head.size + 1))
        changes = folder / _SUCCESSIONS
        successions = _decoded(changes, tuple[Succession, ...], what="changes of roots") if changes.exists() else ()
        log = cls(folder, entries, head, successions)
        if log.root().hex() != head.root:
            raise _refused("ROOT", "the entries are not those it signs", at=path)
        return log

    def root(self) -> bytes:
        """Root hash over the entries."""
        return tree_root(self.leaves())

    def leaves(self) -> list[bytes]:
        """Leaf hashes, oldest first."""
        return [leaf_hash(entry) for entry in self.entries]

    def verify(self, roots: Collection[str]) -> list[VerifiedPolicy]:
        """Every policy ever released, each signed by a root of its time, in order, under a signed head.

        Raises SignatureRefusedError naming the first entry that is not.
        """
        verified: list[VerifiedPolicy] = []
        for number, entry in enumerate(self.entries, start=1):
            path = _entry(self.folder, number)
            try:
                policy = verify_policy(entry, self.roots_at(number, roots))
            except SignatureRefusedError as exc:
                raise SignatureRefusedError(f"{path}:1: {exc}", rule=exc.rule, hint=_HINT) from exc
            if policy.policy.version != number or (self.head is not None and policy.policy.fleet != self.head.fleet):
                raise _refused("ORDER", f"not version {number} of its fleet", at=path)
            verified.append(policy)
        if self.head is not None:
            self.head.check_signature(self.roots_at(self.head.size, roots))
        return verified

    def roots_at(self, version: int, roots: Collection[str]) -> frozenset[str]:
        """Who may sign this version: the pinned roots and their successors."""
        if self.head is None:
            return frozenset(roots)
        return follow(roots, self.successions, fleet=self.head.fleet, version=version)

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
        self._write(_entry(self.folder, number), signed)
        head = _signed_head(LogHead(policy.fleet, number, root.hex(), now_ms), keys)
        return replace(self, entries=entries)._with_head(head)

    def founders(self) -> frozenset[str]:
        """The roots that signed the first release: what devices of this log pin."""
        return frozenset(signers_of(self.entries[0])) if self.entries else frozenset()

    def may_sign(self, version: int) -> frozenset[str]:
        """The founders and their successors."""
        return self.roots_at(version, self.founders())

    def _check_signers(self, keys: Sequence[SigningKey], version: int) -> None:
        if not {key.verify_key.encode().hex() for key in keys} & self.may_sign(version):
            hint = "take the key of the root that signed last, or of its successor"
            raise ConfigError(f"{self.folder}: this key is no root of version {version} of this log", hint=hint)

    def sign_anew(self, keys: Sequence[SigningKey], now_ms: int) -> PolicyLog:
        """The same log under a head of now: devices take its time for true, and see that nothing newer is withheld."""
        head = self._written_head()
        self._check_signers(keys, head.size)
        return self._with_head(_signed_head(LogHead(head.fleet, head.size, head.root, now_ms), keys))

    def cosign(self, witness: SigningKey) -> PolicyLog:
        """The same log with a witness's signature on its head; whether to give it is the witness's own business."""
        head = self._written_head()
        signed = sign(head.witnessed_part(), [witness])
        others = tuple(one for one in head.witnesses if one.root != signed[0].root)
        return self._with_head(msgspec.structs.replace(head, witnesses=(*others, *signed)))

    def change_root(self, old: SigningKey, new: str) -> PolicyLog:
        """The same log with the statement that `new` (hex) signs from the next release on, and `old` no longer does."""
        head = self._written_head()
        statement = succeed(head.fleet, old, new, head.size + 1)
        if any(one.old == statement.old for one in self.successions):
            raise ConfigError(f"{self.folder}: this root was retired before", hint="use the root that succeeded it")
        self._check_signers([old], head.size + 1)
        if new in self.founders() | {one.new for one in self.successions}:
            raise ConfigError(f"{self.folder}: the new key was a root before", hint="make a new one")
        if len(self.successions) == MAX_SUCCESSIONS:
            raise ConfigError(f"{self.folder}: {MAX_SUCCESSIONS} changes of roots are all", hint="begin another fleet")
        successions = (*self.successions, statement)
        self._write(self.folder / _SUCCESSIONS, canonicalize(msgspec.to_builtins(successions)) + b"\n")
        return replace(self, successions=successions)

    def has_grown_from(self, earlier: LogHead) -> bool:
        """Whether this log begins with the entries under an earlier head of it."""
        leaves = self.leaves()[: earlier.size]
        return len(leaves) == earlier.size and tree_root(leaves).hex() == earlier.root

    def retired_at(self, version: int) -> frozenset[str]:
        """Roots that no longer sign this version."""
        return frozenset(one.old for one in self.successions if one.from_version <= version)

    def prove(self, version: int, *, earlier_size: int | None = None) -> dict[str, Any]:
        """Inclusion proof of a version, and of growth from an earlier size, as JSON builtins; hashes in hex.

        Raises ConfigError for a version or size not in it.
        """
        if self.head is None or not 1 <= version <= len(self.entries):
            raise ConfigError(f"{self.folder}: no version {version}", hint="see `discreet policy log list`")
        if earlier_size is not None and not 1 <= earlier_size <= len(self.entries):
            raise ConfigError(
                f"{self.folder}: it never had {earlier_size} releases", hint="see `discreet policy log list`"
            )
        leaves = self.leaves()
        growth = [] if earlier_size is None else consistency_proof(leaves, earlier_size)
        proof = inclusion_proof(leaves, version - 1)
        assert is_included(version - 1, len(leaves), leaves[version - 1], proof, self.root())  # noqa: S101 - our own
        return {
            "index": version - 1,
            "leaf": leaves[version - 1].hex(),
            "proof": [item.hex() for item in proof],
            "grown_from": earlier_size,
            "growth": [item.hex() for item in growth],
            "head": json.loads(msgspec.json.encode(self.head)),
        }

    def _written_head(self) -> LogHead:
        if self.head is None:
            raise ConfigError(f"{self.folder}: nothing was released", hint="begin with `discreet policy release`")
        return self.head

    def _with_head(self, head: LogHead) -> PolicyLog:
        self._write(self.folder / HEAD, canonicalize(msgspec.to_builtins(head)) + b"\n")
        return replace(self, head=head)

    def _write(self, path: Path, content: bytes) -> None:
        hint = "choose a --log folder that you may write"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(f"cannot make {path.parent}: {exc.strerror}", hint=hint) from exc
        write_or_explain(path, content, what="the log", hint=hint, mode=0o644)


def read_head(path: Path) -> LogHead:
    """A head in a file of its own, unverified. Raises ConfigError or SignatureRefusedError."""
    return _decoded(path, LogHead, what="a log's head")


def _entry(folder: Path, number: int) -> Path:
    return folder / "entries" / f"{number:06}.json"


def _signed_head(head: LogHead, keys: Sequence[SigningKey]) -> LogHead:
    return msgspec.structs.replace(head, signatures=sign(head.signed_part(), keys))


def _decoded(path: Path, form: type[_T], *, what: str) -> _T:
    content = read_or_explain(path, what=what, hint=_HINT)
    try:
        return msgspec.json.decode(content, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _refused("FORM", f"this is not {what}", at=path) from exc


def _refused(rule: str, message: str, *, at: Path | None = None, hint: str = _HINT) -> SignatureRefusedError:
    where = f"{at}:1: " if at else ""
    return SignatureRefusedError(f"{where}log refused: {rule}: {message}", rule=rule, hint=hint)
