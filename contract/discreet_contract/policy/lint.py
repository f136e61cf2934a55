"""Judgements about a policy that is legal: named rules, each suppressible with a reason.

`suppress: {RULE: "reason"}` in the policy silences a rule; a suppression that silences
nothing is itself reported. `today` is an argument so that a verdict can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeAlias

from discreet_contract.durations import seconds
from discreet_contract.policy.check import days_until_spent
from discreet_contract.policy.plan import plan_metrics
from discreet_contract.policy.shape import ShapeProblem

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy

Rule: TypeAlias = Callable[["Policy", date], Iterator[ShapeProblem]]
RULES: dict[str, Rule] = {}

SENSITIVE_RETENTION_DAYS = 30
EXPIRY_FAR_DAYS = 2 * 365
EPSILON_CEILING = 2.0
YEARLY_CEILING = 24.0
WHY_WORDS = 5


def lint_policy(policy: Policy, today: date) -> list[ShapeProblem]:
    """Every finding that the policy does not suppress, and every suppression without a finding or a reason."""
    findings = [finding for rule in RULES.values() for finding in rule(policy, today)]
    found_rules = {finding.rule for finding in findings}
    kept = [finding for finding in findings if finding.rule not in policy.suppress]
    for name, reason in policy.suppress.items():
        if name not in found_rules:
            message = f"nothing here breaks {name}; remove the suppression"
            kept.append(ShapeProblem(("suppress", name), "UNUSED_SUPPRESSION", message, on_key=True))
        elif len(reason.split()) < 3:
            message = "a suppression states its reason in words"
            kept.append(ShapeProblem(("suppress", name), "UNEXPLAINED_SUPPRESSION", message))
    return kept


def _rule(function: Rule) -> Rule:
    RULES[function.__name__.strip("_").upper()] = function
    return function


def _found(rule: Rule, path: tuple[str | int, ...], message: str) -> ShapeProblem:
    return ShapeProblem(path, rule.__name__.strip("_").upper(), message)


@_rule
def _expired(policy: Policy, today: date) -> Iterator[ShapeProblem]:
    """A signal's `expires` has passed: its approval is over."""
    for name, signal in policy.signals.items():
        if date.fromisoformat(signal.expires) <= today:
            message = f"expired on {signal.expires}; review it again or remove the signal"
            yield _found(_expired, ("signals", name, "expires"), message)


@_rule
def _expires_far(policy: Policy, today: date) -> Iterator[ShapeProblem]:
    """A signal's `expires` is so far off that nobody will look at it again."""
    for name, signal in policy.signals.items():
        if date.fromisoformat(signal.expires) > today + timedelta(days=EXPIRY_FAR_DAYS):
            message = f"expires more than {EXPIRY_FAR_DAYS} days from now; review sooner"
            yield _found(_expires_far, ("signals", name, "expires"), message)


@_rule
def _why_short(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """A `why` of fewer than five words explains nothing."""
    reasons = {("signals", name, "why"): signal.why for name, signal in policy.signals.items()}
    reasons |= {("metrics", name, "why"): metric.why for name, metric in policy.metrics.items()}
    for path, why in reasons.items():
        if len(why.split()) < WHY_WORDS:
            yield _found(_why_short, path, "say why it is collected and how it is read")


@_rule
def _owner_missing(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """An owner that nobody can write to."""
    owners = {("signals", name, "owner"): signal.owner for name, signal in policy.signals.items()}
    owners |= {("metrics", name, "owner"): metric.owner for name, metric in policy.metrics.items()}
    for path, owner in owners.items():
        if "@" not in owner:
            yield _found(_owner_missing, path, "an owner is an address that somebody reads")


@_rule
def _sensitive_long(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """A sensitive signal that is kept for longer than thirty days."""
    for name, signal in policy.signals.items():
        if signal.sensitivity == "sensitive" and seconds(signal.retention) > SENSITIVE_RETENTION_DAYS * 86_400:
            message = f"sensitive and kept for more than {SENSITIVE_RETENTION_DAYS} days"
            yield _found(_sensitive_long, ("signals", name, "retention"), message)


@_rule
def _trigger_measured(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """A metric over a signal that triggers personalization measures its own cause."""
    for name, metric in policy.metrics.items():
        if policy.signals[metric.from_].role == "trigger":
            yield _found(_trigger_measured, ("metrics", name, "from"), "a trigger signal is used to evaluate")


@_rule
def _epsilon_high(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """One report costs more than ε = 2."""
    for name, metric in policy.metrics.items():
        if metric.epsilon > EPSILON_CEILING:
            message = f"one report costs ε = {metric.epsilon:g}, over {EPSILON_CEILING:g}"
            yield _found(_epsilon_high, ("metrics", name, "epsilon"), message)


@_rule
def _year_high(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """The yearly cap lies above ε = 24."""
    if policy.budget.per_365_days > YEARLY_CEILING:
        message = f"a device may lose ε = {policy.budget.per_365_days:g} a year, over {YEARLY_CEILING:g}"
        yield _found(_year_high, ("budget", "per_365_days"), message)


@_rule
def _budget_runs_out(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """A device that reports every window is refused by a cap one day."""
    days = days_until_spent(policy)
    if days is not None:
        message = f"a device that reports every window is first refused by a cap on day {days:.3g}"
        yield _found(_budget_runs_out, ("budget",), message)


@_rule
def _withheld_noisy(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """At `min_devices` the noise alone spans more than half of the metric's range."""
    for name, plan in plan_metrics(policy).items():
        width = 2 * 1.96 * plan.mechanism.expected_error(plan.metric.min_devices)
        span = plan.high - plan.low if plan.metric.type in {"count", "mean"} else 1
        if width > span / 2:
            message = f"at min_devices = {plan.metric.min_devices} the interval spans {width / span:.0%} of the range"
            yield _found(_withheld_noisy, ("metrics", name, "min_devices"), message)


@_rule
def _spread_missing(policy: Policy, _today: date) -> Iterator[ShapeProblem]:
    """Without a spread the whole fleet publishes in the same second."""
    if seconds(policy.spread) < 1:
        yield _found(_spread_missing, ("spread",), "a fleet without spread stampedes at the window's border")
