"""Which policy is in force: the configured one if a pinned root signed it and it is not older, else the last good one.

The last good signed policy is kept beside the database. A refused one is reported and
changes nothing (P5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.errors import ConfigError, PermanentError, SignatureRefusedError
from discreet_contract.files import read_or_explain, write_durably
from discreet_contract.policy.release import VerifiedPolicy, verify_policy

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Obeyed:
    """The policy in force, and why the configured one is not, where that is so."""

    policy: VerifiedPolicy
    refused: str = ""


def obey(configured: Path, roots: Collection[str], state_dir: Path) -> Obeyed:
    """Decide at start. Raises where neither the configured policy nor a last good one can be obeyed."""
    kept = state_dir / "policy.signed.json"
    last = _last_good(kept, roots) if kept.exists() else None
    try:
        hint = "name a signed policy; sign one with `discreet policy sign`"
        signed = read_or_explain(configured, what="the signed policy", hint=hint)
        new = _not_older(verify_policy(signed, roots), last)
    except (SignatureRefusedError, ConfigError) as exc:
        if last is None:
            raise _at_file(configured, exc) from exc
        return Obeyed(last, refused=str(exc))
    if last is None or new.digest != last.digest:
        write_durably(kept, signed)
    return Obeyed(new)


def _last_good(kept: Path, roots: Collection[str]) -> VerifiedPolicy:
    try:
        return verify_policy(read_or_explain(kept, what="the last good policy", hint="check its owner"), roots)
    except SignatureRefusedError as exc:
        hint = "restore the file, pin the root that signed it, or remove it and so give up its protection from rollback"
        raise SignatureRefusedError(f"{kept}:1: the last good policy: {exc}", hint=hint) from exc


def _not_older(new: VerifiedPolicy, last: VerifiedPolicy | None) -> VerifiedPolicy:
    if last is None or new.digest == last.digest:
        return new
    if new.policy.fleet != last.policy.fleet:
        raise SignatureRefusedError(f"policy refused: FLEET: this device belongs to fleet {last.policy.fleet}")
    if new.policy.version <= last.policy.version:
        raise SignatureRefusedError(
            f"policy refused: ROLLBACK: version {new.policy.version} after {last.policy.version}",
            hint="release old content under a new version",
        )
    return new


def _at_file(path: Path, exc: PermanentError) -> PermanentError:
    if str(path) in str(exc):
        return exc
    hint = "sign a policy with `discreet policy sign` and a key pinned in `roots`"
    return type(exc)(f"{path}:1: {exc}", hint=hint)
