"""May this policy be obeyed (P5)? Pure: what was delivered and what was seen before in, the policy or a refusal out.

Obeyed is what a pinned root (or its successor) signed, for this fleet, newer than the last,
included in the transparency log, whose signed head grew from the last one seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from discreet_contract.errors import SignatureRefusedError
from discreet_contract.policy.bundle import Bundle, read_bundle
from discreet_contract.policy.merkle import is_consistent, is_included, leaf_hash
from discreet_contract.policy.release import VerifiedPolicy, verify_policy
from discreet_contract.policy.succession import effective, follow

if TYPE_CHECKING:
    from discreet_contract.policy.log import LogHead
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.succession import Succession


class PolicyRefusal(StrEnum):
    """Why a delivered policy is not obeyed. A closed list; `agent status` counts each."""

    UNREADABLE = "UNREADABLE"  # the configured file cannot be read
    SIZE = "SIZE"
    FORM = "FORM"
    FLEET = "FLEET"
    SUCCESSION = "SUCCESSION"
    NO_PINNED_SIGNATURE = "NO_PINNED_SIGNATURE"
    ALTERED = "ALTERED"
    LANGUAGE = "LANGUAGE"
    HEAD_UNSIGNED = "HEAD_UNSIGNED"
    HEAD_ALTERED = "HEAD_ALTERED"
    WITNESS_MISSING = "WITNESS_MISSING"
    WITNESS_ALTERED = "WITNESS_ALTERED"
    NOT_NEWEST = "NOT_NEWEST"
    NOT_INCLUDED = "NOT_INCLUDED"
    ROLLBACK = "ROLLBACK"
    SPLIT_VIEW = "SPLIT_VIEW"
    INCONSISTENT = "INCONSISTENT"
    GROWTH_UNPROVEN = "GROWTH_UNPROVEN"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Trust:
    """What this device's own configuration pins; public keys in hex. `witness` may be empty: none is demanded."""

    roots: tuple[str, ...]
    witness: str = ""


@dataclass(frozen=True, slots=True)
class Obeyed:
    """A policy that may be obeyed, and the log's head under which it was found."""

    policy: VerifiedPolicy
    head: LogHead
    successions: tuple[Succession, ...] = ()  # changes of roots that this device has followed

    def says_the_same(self, other: Obeyed | None) -> bool:
        """Whether nothing that anybody signed is new against `other`; signatures of strangers are no news."""
        return (
            other is not None
            and self.head.signed_part() == other.head.signed_part()
            and self.successions == other.successions
        )


def judge(content: bytes, trust: Trust, last: Obeyed | None, now_ms: int) -> Obeyed:
    """What was delivered, if it may be obeyed after `last`. Else SignatureRefusedError; its rule is a PolicyRefusal.

    A head of the same size with another root is a proven fork (SPLIT_VIEW). A proof that does not hold is not: proofs
    are not signed, and whoever carries them can spoil them (INCONSISTENT).
    """
    bundle = read_bundle(content)
    judged = believe(bundle, trust.roots, last)
    if trust.witness:
        judged.head.check_witness(trust.witness)
    if last is not None:
        _check_growth(bundle, judged, last)
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    ended = _ended(judged.policy.policy, today)
    if ended is not None:
        raise _refused(PolicyRefusal.EXPIRED, ended, hint="release a policy with later dates, or mend the clock")
    return judged


def believe(bundle: Bundle, roots: tuple[str, ...], last: Obeyed | None = None) -> Obeyed:
    """The policy in a bundle, if it is signed and included in its own log; nothing is compared with earlier heads."""
    fleet = bundle.head.fleet if last is None else last.policy.policy.fleet
    if bundle.head.fleet != fleet:
        raise _refused(PolicyRefusal.FLEET, f"this device belongs to fleet {fleet}")
    known = () if last is None else last.successions
    successions = effective(roots, (*known, *bundle.successions), fleet=fleet)
    allowed = follow(roots, successions, fleet=fleet, version=bundle.head.size)
    entry = bundle.entry()
    policy = verify_policy(entry, allowed)
    if policy.policy.fleet != fleet:
        raise _refused(PolicyRefusal.FLEET, f"the policy is fleet {policy.policy.fleet}'s, the log {fleet}'s")
    bundle.head.check_signature(allowed)
    version, size = policy.policy.version, bundle.head.size
    if version != size:
        raise _refused(PolicyRefusal.NOT_NEWEST, f"version {version} under a head of {size} releases")
    root = bytes.fromhex(bundle.head.root)
    if not is_included(size - 1, size, leaf_hash(entry), bundle.inclusion_hashes(), root):
        raise _refused(PolicyRefusal.NOT_INCLUDED, "the log's head does not hold this policy")
    return Obeyed(policy, bundle.head, successions)


def _check_growth(bundle: Bundle, new: Obeyed, last: Obeyed) -> None:
    """The log may only have grown since `last`."""
    old, head = last.head, new.head
    if head.size < old.size or (head.size == old.size and head.root == old.root and head.time_ms < old.time_ms):
        raise _refused(
            PolicyRefusal.ROLLBACK,
            f"version {head.size} of {_when(head)} after {old.size} of {_when(old)}",
            hint="release old content under a new version: `discreet policy rollback`",
        )
    if head.size == old.size:
        if head.root == old.root:
            return
        raise _refused(
            PolicyRefusal.SPLIT_VIEW,
            f"the log of {head.size} releases has the root {head.root}, and {old.root} was seen before",
            hint="keep both heads and show them to the auditor: whoever holds the root key signed two logs",
        )
    proof = bundle.consistency_hashes(old.size)
    if proof is None:
        raise _refused(
            PolicyRefusal.GROWTH_UNPROVEN,
            f"no proof that the log of {old.size} releases grew into one of {head.size}",
            hint=f"publish to a file with --from-size {old.size}, and name it as `policy`",
        )
    if not is_consistent(old.size, head.size, bytes.fromhex(old.root), bytes.fromhex(head.root), proof):
        raise _refused(
            PolicyRefusal.INCONSISTENT,
            f"the proof does not lead from the log of {old.size} releases seen before to {head.size} under {head.root}",
            hint="publish again; if it stays, hold the head that `status` shows against the log: "
            "`discreet policy log verify --seen`",
        )


def _ended(policy: Policy, today: date) -> str | None:
    """Why nothing could be done under this policy any more, or None."""
    until = max(date.fromisoformat(key.until) for key in policy.aggregator.keys)
    if until <= today:
        return f"no aggregator key is valid after {until}"
    expires = max(date.fromisoformat(signal.expires) for signal in policy.signals.values())
    if expires < today:
        return f"the approval of its last signal ended on {expires}"
    return None


def _when(head: LogHead) -> str:
    return datetime.fromtimestamp(head.time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refused(
    rule: PolicyRefusal, message: str, *, hint: str = "publish or fetch the policy again"
) -> SignatureRefusedError:
    return SignatureRefusedError(f"policy refused: {rule}: {message}", rule=rule.value, hint=hint)
