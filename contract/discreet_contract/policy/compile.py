"""YAML policy → checked `Policy` → canonical JSON (RFC 8785) and its hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
import rfc8785

from discreet_contract.errors import PermanentError, PolicyError
from discreet_contract.policy.check import check_model
from discreet_contract.policy.measured import mechanism_id
from discreet_contract.policy.model import Policy
from discreet_contract.policy.plain import plain_policy
from discreet_contract.policy.shape import check_shape

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_contract.policy.read import PolicyText


def load_policy(path: Path) -> Policy:
    """Read, shape-check and model-check a policy file. Raises PolicyError with all problems."""
    from discreet_contract.policy.read import read_policy_text  # a device reads no YAML

    return build_policy(read_policy_text(path))


def build_policy(text: PolicyText) -> Policy:
    """The same for a text that was already read."""
    policy, shape_problems = check_shape(Policy, _expand_shorthands(text.value))
    found = shape_problems if policy is None else check_model(policy)
    problems = text.problems + [
        text.problem(p.path, p.rule, p.message, on_key=p.on_key)
        for p in found
        if p.on_key or not text.is_unreadable(p.path)  # what could not be read was already reported
    ]
    if policy is None or problems:
        raise PolicyError(sorted(problems))
    return fix_mechanisms(policy)


def fix_mechanisms(policy: Policy) -> Policy:
    """The policy as devices obey it: `mechanism: auto` replaced by what it stands for today."""
    fixed = {
        name: msgspec.structs.replace(metric, mechanism=mechanism_id(policy.signals[metric.from_], metric))
        for name, metric in policy.metrics.items()
    }
    return msgspec.structs.replace(policy, metrics=fixed)


def canonical_json(policy: Policy) -> bytes:
    """RFC 8785 form of the compiled policy: equal policies have equal bytes."""
    return canonicalize(plain_policy(policy))


def canonicalize(value: Any) -> bytes:
    """RFC 8785 form of JSON builtins."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as exc:
        raise PermanentError(f"not representable as canonical JSON: {exc}", hint="use smaller numbers") from exc


def policy_hash(canonical: bytes) -> bytes:
    """SHA-256 of the canonical JSON; 32 bytes."""
    return hashlib.sha256(canonical).digest()


def _expand_shorthands(value: object) -> object:
    """`per_device: count` means `per_device: {count: ""}`."""
    if not isinstance(value, dict) or not isinstance(value.get("metrics"), dict):
        return value
    for metric in value["metrics"].values():
        if isinstance(metric, dict) and isinstance(metric.get("per_device"), str):
            metric["per_device"] = {metric["per_device"]: ""}
    return value
