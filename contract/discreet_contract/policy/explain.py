"""The facts about a policy, for programs: what is collected, what stays, what leaves, and what it can reveal.

`explain_document` arranges them under the headings of NIST SP 800-226; text, Markdown and
HTML are three renderings of that one arrangement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_contract.accounting import DAY_SECONDS, NANO, to_nano
from discreet_contract.mechanisms.catalogue import CARRIERS, cost, fits
from discreet_contract.policy.lints.hygiene import inert_parts
from discreet_contract.policy.loss import (
    DELTA,
    INSTALL_HINT,
    SPANS,
    best_guess,
    can_be_tight,
    loss_of,
    metric_loss,
    windows_in,
)
from discreet_contract.policy.measured import PAYLOAD_LIMIT, measure
from discreet_contract.policy.plan import MetricPlan, build_mechanism, plan_metrics

if TYPE_CHECKING:
    from discreet_contract.mechanisms.mechanism import Mechanism
    from discreet_contract.policy.measured import Measured
    from discreet_contract.policy.model import Policy, Signal

RARE = 0.01
_DEVICES = 10_000  # at which standard errors are compared


def explain(policy: Policy, digest: bytes, *, tight: bool = False) -> dict[str, Any]:
    """One entry a signal, one a metric, and the totals. `tight` asks for PLD figures where they can be had."""
    plans = plan_metrics(policy)
    return {
        "fleet": policy.fleet,
        "version": policy.version,
        "hash": digest.hex(),
        "consent": policy.consent,
        "release": {"author": policy.release.author, "reason": policy.release.reason},
        "collector": policy.collector.host.every if policy.collector.host else "",
        "delivery": {"spread": policy.spread, "late_horizon": policy.late_horizon, "lateness": policy.lateness},
        "keys": [{"id": k.id, "from": k.from_, "until": k.until} for k in policy.aggregator.keys],
        "not_acted_on": [".".join(map(str, path)) for path in inert_parts(policy)],
        "stays": {name: _signal_facts(signal) for name, signal in policy.signals.items()},
        "leaves": {name: _metric_facts(policy, plan) for name, plan in plans.items()},
        "epsilon": _epsilon_facts(policy, tight=tight),
    }


def _signal_facts(signal: Signal) -> dict[str, Any]:
    return {
        "why": signal.why,
        "owner": signal.owner,
        "review": signal.review,
        "sensitivity": signal.sensitivity,
        "kept_for": signal.retention,
        "expires": signal.expires,
        "fields": list(signal.fields),
        "metric": signal.otlp.metric if signal.otlp else "",
    }


def _metric_facts(policy: Policy, plan: MetricPlan) -> dict[str, Any]:
    metric = plan.metric
    return {
        "why": metric.why,
        "owner": metric.owner,
        "from": metric.from_,
        "per_device": " of ".join(part for part in (metric.reduction, metric.field) if part),
        "only_where": metric.where,
        "bounds": list(metric.bounds) if metric.bounds else None,
        "type": metric.type,
        "version": plan.version,
        "window": metric.window,
        "reports_per_year": round(365 * DAY_SECONDS / metric.window_seconds, 2),
        "mechanism": plan.mechanism.id,
        "epsilon": metric.epsilon,
        "payload_bytes": plan.mechanism.payload_bytes,
        "best_guess_after_one_report": round(best_guess(metric.epsilon), 4),
        "guesses": _guesses(metric.epsilon, metric_loss(policy, plan.name, 30), metric_loss(policy, plan.name, 365)),
        "reports_in_365_days": _reports(policy, plan),
        "is_memoised": metric.is_memoised,
        "standard_error_at_10000_devices": _error(plan, plan.mechanism),
        "compared_with": _compared(plan, measure(policy.signals[metric.from_], metric)),
        "unit": metric.display.unit,
        "withheld_below_devices": metric.min_devices,
    }


def _reports(policy: Policy, plan: MetricPlan) -> int:
    """Most reports in 365 days: what the caps pay for; a memoised metric, once paid, reports in every window."""
    if plan.metric.is_memoised:
        return windows_in(365, plan.metric.window_seconds)
    return round(metric_loss(policy, plan.name, 365) * NANO) // to_nano(plan.metric.epsilon)


def _compared(plan: MetricPlan, measured: Measured) -> dict[str, float]:
    """What `auto` compares, n times a variance, for every mechanism that could carry the metric; its own first."""
    own = {plan.mechanism.id: cost(plan.mechanism)}
    if plan.metric.is_memoised:
        return own
    rivals = (one for one in CARRIERS[plan.metric.type] if one not in own and fits(one, measured.shape))
    built = (build_mechanism(one, plan.metric, measured) for one in rivals)
    return own | {one.id: cost(one) for one in built if one.payload_bytes <= PAYLOAD_LIMIT}


def _error(plan: MetricPlan, mechanism: Mechanism) -> float:
    """Standard error at 10,000 devices, in the unit shown."""
    return mechanism.expected_error(_DEVICES) * plan.step / plan.metric.display.divide


def _guesses(one: float, month: float, year: float) -> dict[str, dict[str, float]]:
    """Best possible guess for both priors, before and after; ε beside it."""
    losses = {"before": 0.0, "one_report": one, "30_days": month, "365_days": year}
    return {
        when: {"epsilon": loss, "even": round(best_guess(loss), 6), "rare": round(best_guess(loss, RARE), 6)}
        for when, loss in losses.items()
    }


def _epsilon_facts(policy: Policy, *, tight: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {"delta": DELTA, "lifetime_cap": policy.budget.lifetime}
    if tight and not can_be_tight():
        facts["note"] = INSTALL_HINT
    for days in SPANS:
        loss = loss_of(policy, days, tight=tight)
        facts["per_day" if days == 1 else f"per_{days}_days"] = {
            "asked": loss.asked,
            "cap": loss.cap,
            "at_most": loss.at_most,
            "tight": None if loss.tight is None else round(loss.tight, 4),
            "best_guess": round(best_guess(loss.at_most), 6),
            "best_guess_of_the_rare": round(best_guess(loss.at_most, RARE), 6),
        }
    return facts
