"""Noised value → report → envelope for the aggregator's key that is valid today."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nacl.public import PublicKey

from discreet_contract import envelope, wire

if TYPE_CHECKING:
    from discreet_agent.event import NoisedValue
    from discreet_contract.policy.model import AggregatorKey, Policy
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.policy.release import VerifiedPolicy


@dataclass(frozen=True, slots=True)
class SealedReport:
    """An envelope and what is needed to recognise its receipt."""

    report_id: bytes
    receipt_key: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about."""

    plan: MetricPlan
    window_start: int  # second
    dimensions: wire.Dimensions  # public facts, sorted


def valid_key(policy: Policy, now_ms: int) -> AggregatorKey | None:
    """The youngest key whose validity holds today (UTC), or None: then nothing may be released."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
    valid = [key for key in policy.aggregator.keys if key.from_ <= today < key.until]
    return max(valid, key=lambda key: (key.from_, key.id), default=None)


def seal(
    policy: VerifiedPolicy,
    subject: Subject,
    noised: NoisedValue,
    *,
    secret: bytes,
    key: AggregatorKey,
) -> SealedReport:
    """The one report of a (device, metric, window). `secret` is the device's; it names the report and stays here."""
    plan, window_start = subject.plan, subject.window_start
    fleet = policy.policy.fleet
    report = wire.Report(
        wire_version=wire.WIRE_VERSION,
        fleet=fleet,
        policy_hash=policy.wire_hash,
        metric=plan.name,
        window_start=window_start,
        mechanism=plan.mechanism.id,
        payload=noised.payload,
        dimensions=subject.dimensions,
        report_id=wire.make_report_id(secret, fleet, plan.name, window_start),
        receipt_key=secrets.token_bytes(wire.RECEIPT_KEY_BYTES),
    )
    body = wire.encode_report(report, overhead=envelope.OVERHEAD_BYTES, at_least=policy.policy.padding)
    sealed = envelope.seal(body, key.id, PublicKey(bytes.fromhex(key.public_key)))
    return SealedReport(report.report_id, report.receipt_key, sealed)
