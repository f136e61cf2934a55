"""Where policies come from, and which one is in force: the kept file, the configured one, the broker's message.

The last good policy is kept with the head under which it was found, in one file, so that a
power cut leaves the old pair or the new. A refused one is remembered with its reason and
changes nothing. Nothing is written until `keep` is called: while the owner says no, nothing is (P6).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from discreet_agent.store.trail import InForce
from discreet_contract.errors import ConfigError, PermanentError, RetryableError, SignatureRefusedError
from discreet_contract.files import read_or_explain, write_durably
from discreet_contract.policy.bundle import MAX_BUNDLE_BYTES, read_bundle
from discreet_contract.policy.compile import canonicalize
from discreet_contract.policy.obey import Obeyed, PolicyRefusal, Trust, believe, judge

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

    from discreet_contract.clock import Clock

    Source = Literal["kept", "file", "broker"]

KEPT = "policy.kept.json"
CONFLICT = "policy.conflict.json"  # a head that contradicts the last one seen: the first one, until somebody removes it
_UNREADABLE = (0, 0, 0)  # stamp of a file that cannot be read
_NEVER = 2**63
_EXPIRED_AGAIN_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """One delivered policy that was not obeyed."""

    reason: PolicyRefusal
    text: str
    source: Source
    at_ms: int


def in_force(obeyed: Obeyed, source: Source, now_ms: int) -> InForce:
    """A change of the policy in force, as the trail keeps it."""
    policy = obeyed.policy
    note = policy.policy.release
    return InForce(
        since_ms=now_ms,
        version=policy.policy.version,
        policy_hash=policy.digest,
        signed_by=policy.signed_by,
        author=note.author,
        reason=note.reason,
        source=source,
        head_size=obeyed.head.size,
        head_root=obeyed.head.root,
    )


class Policies:
    """The newest policy that may be obeyed. `start` first; then `look` and `offer` bring newer ones."""

    def __init__(self, configured: Path, trust: Trust, state_dir: Path, clock: Clock) -> None:
        self._configured = configured
        self._trust = trust
        self._state_dir = state_dir
        self._clock = clock
        self._stamp: tuple[int, int, int] | None = None
        self._content = b""  # what `keep` would write
        self._is_kept = True
        self._judged: dict[Source, bytes] = {}  # hash of what was last refused, so that one copy is judged once
        self._again_ms = _NEVER  # boot time at which an unchanged file is judged again
        self._conflict = b""
        self._obeyed: Obeyed | None = None
        self.source: Source = "kept"
        self.refusal: Refusal | None = None  # the latest, until a newer policy is taken
        self.uncounted: Counter[PolicyRefusal] = Counter()  # refusals since the caller last wrote them down

    @property
    def obeyed(self) -> Obeyed:
        """What is in force."""
        if self._obeyed is None:
            raise ConfigError("no policy is in force yet", hint="call `start` first")
        return self._obeyed

    def start(self) -> Obeyed:
        """Decide at start. Raises where neither the configured policy nor a kept one can be obeyed."""
        kept = self._state_dir / KEPT
        if kept.exists():
            self._obeyed = self._restore(kept)
        self.look()
        if self._obeyed is not None and self.refusal is not None and self.refusal.reason is PolicyRefusal.ROLLBACK:
            self.refusal = None  # the file it was installed with; the broker has brought a newer one since
            self.uncounted.clear()
        if self._obeyed is None:
            assert self.refusal is not None  # noqa: S101 - `look` obeyed the file or refused it
            failure = ConfigError if self.refusal.reason is PolicyRefusal.UNREADABLE else SignatureRefusedError
            hint = "publish to this file with `discreet policy publish`, signed by a key pinned in `roots`"
            raise failure(f"{self._configured}:1: {self.refusal.text}", hint=hint)
        return self._obeyed

    def look(self) -> None:
        """Judge the configured file, if it changed; cheap where it did not."""
        try:
            status = self._configured.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._stamp and self._clock.boot_ms() < self._again_ms:
                return
            with self._configured.open("rb") as file:
                content = file.read(MAX_BUNDLE_BYTES + 1)
        except OSError as exc:
            if self._stamp != _UNREADABLE:  # say it once
                self._refuse(PolicyRefusal.UNREADABLE, f"cannot read the policy: {exc.strerror}", "file")
            self._stamp = _UNREADABLE
            return
        if self.refusal is not None and self.refusal.reason is PolicyRefusal.UNREADABLE:
            self.refusal = None
        self._stamp, self._again_ms = stamp, _NEVER
        self.offer(content, "file")

    def offer(self, content: bytes, source: Source) -> None:
        """Judge what was delivered: `obeyed` is then the new policy, or `refusal` says why not."""
        digest = hashlib.sha256(content).digest()
        if self._judged.get(source) == digest:
            return
        try:
            new = judge(content, self._trust, self._obeyed, self._clock.now_ms())
        except PermanentError as exc:  # whatever it is, what was delivered is at fault and the device goes on
            self._refused(exc, content, source)
            return
        if new.says_the_same(self._obeyed):
            return  # delivered again
        self._obeyed, self.source, self.refusal = new, source, None
        self._judged.clear()  # what did not fit the former one may fit this one
        self._content, self._is_kept = _with_successions(content, new), False

    def _refused(self, exc: PermanentError, content: bytes, source: Source) -> None:
        reason = PolicyRefusal(exc.rule) if isinstance(exc, SignatureRefusedError) else PolicyRefusal.FORM
        self._judged[source] = hashlib.sha256(content).digest()
        if reason is PolicyRefusal.EXPIRED:  # perhaps it was the clock: judged again, but not every second
            del self._judged[source]
            self._again_ms = self._clock.boot_ms() + _EXPIRED_AGAIN_MS
        if reason is PolicyRefusal.SPLIT_VIEW and not (self._state_dir / CONFLICT).exists():
            self._conflict, self._is_kept = content, False
        self._refuse(reason, str(exc), source)

    def keep(self) -> None:
        """Make durable what was taken since the last call: policy and head together. Raises RetryableError."""
        if self._is_kept:
            return
        try:
            if self._content:
                write_durably(self._state_dir / KEPT, self._content)
            if self._conflict:
                write_durably(self._state_dir / CONFLICT, self._conflict)
        except OSError as exc:
            message = f"{self._state_dir}: cannot keep the policy: {exc.strerror}"
            raise RetryableError(message, hint="free the disk; the agent tries again") from exc
        self._content = self._conflict = b""
        self._is_kept = True

    def _restore(self, kept: Path) -> Obeyed:
        """The kept policy. Its dates and growth were judged when it was taken; its signatures are checked again."""
        try:
            content = read_or_explain(kept, what="the last good policy", hint="check its owner")
            return believe(read_bundle(content), self._trust.roots)
        except PermanentError as exc:
            hint = "restore it, pin the root that signed it, or remove it and so give up its protection from rollback"
            raise type(exc)(f"{kept}:1: the last good policy: {exc}", hint=hint) from exc

    def _refuse(self, reason: PolicyRefusal, text: str, source: Source) -> None:
        self.refusal = Refusal(reason, text, source, self._clock.now_ms())
        self.uncounted[reason] += 1


def _with_successions(content: bytes, obeyed: Obeyed) -> bytes:
    """The bundle with every change of roots that this device ever followed: it must not forget one."""
    bundle = msgspec.structs.replace(read_bundle(content), successions=obeyed.successions, consistency=())
    return canonicalize(msgspec.to_builtins(bundle)) + b"\n"
