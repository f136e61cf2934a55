"""Report → admitted value, or a refusal that names the first rule it breaks (DESIGN.md §6).

In order: wire version, seen before, fleet, policy, metric, mechanism, dimensions, window,
payload. Pure: the stored verdict and the time are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_aggregator.policies import PolicyShelf, grace_seconds
from discreet_aggregator.records import Admitted, Refused, Watermark
from discreet_aggregator.refusal import RefusalReason, verdict_of
from discreet_contract.errors import IllegalPayloadError
from discreet_contract.policy.dimensions import is_legal
from discreet_contract.wire import WIRE_VERSION

if TYPE_CHECKING:
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.wire import Report, Verdict

# How long a refusal is remembered where no known policy says how long a device resends: the default late horizon.
_DEFAULT_GRACE_SECONDS = 35 * 86_400


@dataclass(frozen=True, slots=True)
class Rules:
    """What reports are judged by."""

    shelf: PolicyShelf
    fleet: str
    watermark: Watermark

    @property
    def now_ms(self) -> int:
        """What time it is for admission."""
        return self.watermark.now_ms

    def grace(self, report: Report) -> int:
        """Seconds after its window's end that a report under this policy may arrive."""
        verified = self.shelf.get(report.policy_hash)
        return _DEFAULT_GRACE_SECONDS if verified is None else grace_seconds(verified.policy)


def admit(report: Report, stored: Verdict | None, rules: Rules) -> Admitted | Refused:
    """Judge one report; `stored` is the verdict its id already has, if any."""
    if report.wire_version != WIRE_VERSION:
        return _refuse(report, RefusalReason.WIRE_VERSION_UNKNOWN, rules)
    if stored is not None:
        return Refused(RefusalReason.DUPLICATE, report, stored)
    plan = _find_plan(report, rules)
    if isinstance(plan, RefusalReason):
        return _refuse(report, plan, rules)
    fault = _form_fault(report, plan) or _dimensions_fault(report, plan, rules) or _window_fault(report, plan, rules)
    if fault is not None:
        return _refuse(report, fault, rules, plan.name)
    try:
        value = plan.mechanism.decode(report.payload)
    except IllegalPayloadError:
        return _refuse(report, RefusalReason.PAYLOAD_ILLEGAL, rules, plan.name)
    return Admitted(report, plan, value, report.window_start + plan.metric.window_seconds + rules.grace(report))


def _find_plan(report: Report, rules: Rules) -> MetricPlan | RefusalReason:
    if report.fleet != rules.fleet:
        return RefusalReason.WRONG_FLEET
    verified = rules.shelf.get(report.policy_hash)
    if verified is None:
        return RefusalReason.POLICY_UNKNOWN
    return verified.plans.get(report.metric) or RefusalReason.METRIC_UNKNOWN


def _form_fault(report: Report, plan: MetricPlan) -> RefusalReason | None:
    if report.mechanism != plan.mechanism.id:
        return RefusalReason.MECHANISM_MISMATCH
    return None


def _dimensions_fault(report: Report, plan: MetricPlan, rules: Rules) -> RefusalReason | None:
    verified = rules.shelf.get(report.policy_hash)
    assert verified is not None  # noqa: S101 - the metric's plan came from it
    may_carry = is_legal(verified.policy, plan, report.window_start, report.dimensions)
    return None if may_carry else RefusalReason.DIMENSIONS_ILLEGAL


def _window_fault(report: Report, plan: MetricPlan, rules: Rules) -> RefusalReason | None:
    length = plan.metric.window_seconds
    if report.window_start < 0 or report.window_start % length:
        return RefusalReason.WINDOW_ILLEGAL
    end = report.window_start + length
    if end * 1000 > rules.now_ms:
        return RefusalReason.WINDOW_NOT_BEGUN
    last = end + rules.grace(report)
    if rules.now_ms > last * 1000 or last <= rules.watermark.forgotten_seconds:
        return RefusalReason.WINDOW_TOO_LATE
    return None


def _refuse(report: Report, reason: RefusalReason, rules: Rules, metric: str = "") -> Refused:
    # Kept from now on, not from the window's end: a refused window may be any number at all.
    keep_until = rules.now_ms // 1000 + rules.grace(report)
    return Refused(reason, report, verdict_of(reason), metric, keep_until)
