"""A policy in plain words: what is collected, what stays, what leaves, and what it can reveal."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from discreet_contract.policy.plan import MetricPlan, plan_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Policy, Signal

_DAY = 86_400


def explain(policy: Policy, digest: bytes) -> dict[str, Any]:
    """The facts, for programs: one entry a signal, one a metric, and the totals."""
    plans = plan_metrics(policy)
    return {
        "fleet": policy.fleet,
        "version": policy.version,
        "hash": digest.hex(),
        "consent": policy.consent,
        "lateness": policy.lateness,
        "spread": policy.spread,
        "late_horizon": policy.late_horizon,
        "stays": {name: _signal_facts(signal) for name, signal in policy.signals.items()},
        "leaves": {name: _metric_facts(plan) for name, plan in plans.items()},
        "epsilon": {
            "per_28_days": _capped(plans, 28, policy.budget.per_28_days),
            "per_365_days": _capped(plans, 365, policy.budget.per_365_days),
            "lifetime_cap": policy.budget.lifetime,
        },
    }


def render(facts: dict[str, Any]) -> str:
    """The facts, for people."""
    return "\n".join(_lines(facts))


def best_guess(epsilon: float) -> float:
    """Probability that the best possible guess of a yes-or-no secret (prior one half) is right, after losing ε."""
    return 1 / (1 + math.exp(-epsilon))


def _signal_facts(signal: Signal) -> dict[str, Any]:
    return {
        "why": signal.why,
        "owner": signal.owner,
        "sensitivity": signal.sensitivity,
        "kept_for": signal.retention,
        "expires": signal.expires,
        "fields": list(signal.fields),
    }


def _metric_facts(plan: MetricPlan) -> dict[str, Any]:
    metric = plan.metric
    return {
        "why": metric.why,
        "owner": metric.owner,
        "from": metric.from_,
        "type": metric.type,
        "per_device": f"{metric.reduction} {metric.field}".strip(),
        "where": metric.where,
        "bounds": metric.bounds,
        "window": metric.window,
        "reports_per_year": round(365 * _DAY / metric.window_seconds, 2),
        "mechanism": plan.mechanism.id,
        "epsilon": metric.epsilon,
        "payload_bytes": plan.mechanism.payload_bytes,
        "best_guess_after_one_report": round(best_guess(metric.epsilon), 4),
        "standard_error_at_10000_devices": plan.mechanism.expected_error(10_000) * plan.grid / metric.display.divide,
        "unit": metric.display.unit,
        "withheld_below_devices": metric.min_devices,
    }


def _capped(plans: dict[str, MetricPlan], days: int, cap: float) -> dict[str, float]:
    asked = sum(p.metric.epsilon * math.ceil(days * _DAY / p.metric.window_seconds) for p in plans.values())
    spent = min(asked, cap)
    return {"asked": asked, "cap": cap, "at_most": spent, "best_guess": round(best_guess(spent), 6)}


def _percent(guess: float) -> str:
    """Never "100%": no finite ε makes a guess certain."""
    return "above 99.99%" if guess > 0.9999 else f"at most {guess:.2%}"


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"Fleet {facts['fleet']}, policy version {facts['version']}, consent: {facts['consent']}"
    yield f"hash {facts['hash']}"
    yield ""
    yield "STAYS on the device (raw values never leave it)"
    for name, signal in facts["stays"].items():
        fields = ", ".join(signal["fields"]) or "no fields"
        yield f"  {name} ({signal['sensitivity']}; {fields})"
        yield f"    kept for {signal['kept_for']}, approved until {signal['expires']}"
        yield f"    why: {signal['why']}  owner: {signal['owner']}"
    yield ""
    yield "LEAVES the device, randomised before it is stored for sending"
    for name, metric in facts["leaves"].items():
        source = f"{metric['per_device']} of {metric['from']}"
        yield f"  {name}: one {metric['type']} value ({source}) every {metric['window']}"
        if metric["where"] is not None:
            yield f"    only where {json.dumps(metric['where'], ensure_ascii=False)}"
        if metric["bounds"] is not None:
            yield f"    clamped to [{metric['bounds'][0]:g}, {metric['bounds'][1]:g}] before anything is drawn"
        yield f"    why: {metric['why']}  owner: {metric['owner']}"
        yield f"    mechanism {metric['mechanism']} at ε = {metric['epsilon']:g}, {metric['payload_bytes']} byte(s)"
        error = f"{metric['standard_error_at_10000_devices']:.3g} {metric['unit']}".rstrip()
        yield f"    standard error at 10,000 devices: {error}"
        yield (
            f"    one report lifts the best guess of a yes-or-no secret from 50% to at most "
            f"{metric['best_guess_after_one_report']:.0%}; withheld below {metric['withheld_below_devices']} devices"
        )
    yield ""
    yield (
        f"A window's reports leave {facts['lateness']} after its end, spread at random over {facts['spread']}; "
        f"they are taken for {facts['late_horizon']}."
    )
    yield ""
    yield "LOSS of one device, by plain addition"
    for label, key in (("any 28 days", "per_28_days"), ("any 365 days", "per_365_days")):
        loss = facts["epsilon"][key]
        yield (
            f"  {label}: at most ε = {loss['at_most']:g} (asked {loss['asked']:g}, cap {loss['cap']:g}); "
            f"best guess {_percent(loss['best_guess'])}"
        )
    yield f"  lifetime: at most ε = {facts['epsilon']['lifetime_cap']:g}"
    yield ""
    yield "A sent report cannot be recalled. That a device is installed and reachable is public;"
    yield "a silent one can be noticed."
