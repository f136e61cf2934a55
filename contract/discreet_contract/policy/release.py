"""Signing a compiled policy and obeying only a signed one (P5).

A signed policy is one JSON object: the compiled policy and signatures over its canonical
form. A device verifies it with root keys pinned in its own configuration, and obeys it only
in a `bundle` with the proof that the transparency log holds it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from discreet_contract.errors import ConfigError, PermanentError, SignatureRefusedError
from discreet_contract.files import read_or_explain, write_or_explain
from discreet_contract.policy.check import check_model
from discreet_contract.policy.compile import canonical_json, canonicalize, fix_mechanisms, policy_hash
from discreet_contract.policy.model import Policy
from discreet_contract.policy.plan import MetricPlan, plan_metrics
from discreet_contract.policy.signatures import Signature, pinned_signer, sign
from discreet_contract.wire import POLICY_HASH_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_SIGNED = b"discreet policy 1\0"
MAX_SIGNED_BYTES = 900_000  # with its proofs below what a device takes


class _SignedPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    policy: dict[str, Any]
    signatures: Annotated[tuple[Signature, ...], msgspec.Meta(max_length=16)]


@dataclass(frozen=True, slots=True)
class VerifiedPolicy:
    """A policy that a pinned root signed; `digest` is the full 32-byte policy hash."""

    policy: Policy
    digest: bytes
    signed_by: str  # root public key, hex
    plans: dict[str, MetricPlan]

    @property
    def wire_hash(self) -> bytes:
        """The part of the hash that rides in reports."""
        return self.digest[:POLICY_HASH_BYTES]


def sign_policy(policy: Policy, keys: Collection[SigningKey]) -> bytes:
    """Signed policy as a JSON text for a file or a retained message."""
    canonical = canonical_json(fix_mechanisms(policy))
    signatures = msgspec.to_builtins(sign(_SIGNED + canonical, keys))
    return canonicalize({"policy": json.loads(canonical), "signatures": signatures}) + b"\n"


def verify_policy(signed: bytes, roots: Collection[str]) -> VerifiedPolicy:
    """The policy inside, if one of the pinned `roots` (hex) signed exactly these contents.

    Raises SignatureRefusedError naming the rule: SIZE, FORM, NO_PINNED_SIGNATURE, ALTERED, LANGUAGE.
    """
    if len(signed) > MAX_SIGNED_BYTES:
        raise _refused("SIZE", f"a signed policy is at most {MAX_SIGNED_BYTES} bytes")
    try:
        outer = msgspec.json.decode(signed, type=_SignedPolicy)
        canonical = canonicalize(outer.policy)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, PermanentError) as exc:
        raise _refused("FORM", "this is not a signed policy; make one with `discreet policy release`") from exc
    root = _pinned_signature(outer.signatures, canonical, roots)
    try:
        policy = msgspec.convert(outer.policy, Policy)
    except msgspec.ValidationError as exc:
        raise _refused("LANGUAGE", f"signed, but not in the policy language this version speaks ({exc})") from exc
    misfits = check_model(policy)
    if misfits or canonical_json(fix_mechanisms(policy)) != canonical:
        reason = misfits[0].message if misfits else "it was not compiled; make it with `discreet policy release`"
        raise _refused("LANGUAGE", f"signed, but cannot be obeyed: {reason}")
    return VerifiedPolicy(policy, policy_hash(canonical), root, plan_metrics(policy))


def read_unverified(signed: bytes) -> Policy:
    """The policy inside, whoever signed it: for readers of a log or an auditor's files, never for a device."""
    try:
        outer = msgspec.json.decode(signed, type=_SignedPolicy)
        policy = msgspec.convert(outer.policy, Policy)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise _refused("FORM", f"this is not a signed policy of this version's language ({exc})") from exc
    misfits = check_model(policy)
    if misfits:
        raise _refused("LANGUAGE", f"it cannot be obeyed: {misfits[0].message}")
    return fix_mechanisms(policy)


def signers_of(signed: bytes) -> tuple[str, ...]:
    """Roots (hex) whose signatures stand under a policy, unverified."""
    try:
        return tuple(one.root for one in msgspec.json.decode(signed, type=_SignedPolicy).signatures)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise _refused("FORM", "this is not a signed policy") from exc


def _pinned_signature(signatures: tuple[Signature, ...], canonical: bytes, roots: Collection[str]) -> str:
    try:
        root = pinned_signer(signatures, _SIGNED + canonical, roots)
    except BadSignatureError as exc:
        raise _refused("ALTERED", "the policy was altered after it was signed; fetch it again") from exc
    if root is None:
        raise _refused("NO_PINNED_SIGNATURE", "no signature by a pinned root; compare `roots` in the configuration")
    return root


def _refused(rule: str, message: str) -> SignatureRefusedError:
    hint = "compare the root key, then fetch or sign the policy again"
    return SignatureRefusedError(f"policy refused: {rule}: {message}", rule=rule, hint=hint)


def new_root_key(path: Path) -> str:
    """Create a signing key file (mode 0600) that must not exist yet; returns the public key in hex."""
    if path.exists():
        raise ConfigError(f"{path} exists", hint="choose another name: a key is never overwritten")
    key = SigningKey.generate()
    hint = "choose a place that you may write to"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"{path.parent}: cannot make this folder: {exc.strerror}", hint=hint) from exc
    write_or_explain(path, key.encode().hex().encode() + b"\n", what="a signing key", hint=hint)
    return key.verify_key.encode().hex()


def read_root_key(path: Path) -> SigningKey:
    """The signing key in a file that `new_root_key` wrote."""
    content = read_or_explain(path, what="a signing key", hint="make one with `discreet policy keys new FILE`")
    try:
        return SigningKey(bytes.fromhex(content.decode("ascii").strip()))
    except (ValueError, TypeError) as exc:
        message = f"{path}:1: not a signing key"
        raise ConfigError(message, hint="make one with `discreet policy keys new FILE`") from exc
