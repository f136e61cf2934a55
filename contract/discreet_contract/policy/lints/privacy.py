"""What a policy can reveal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.durations import seconds
from discreet_contract.policy.lints.table import rule
from discreet_contract.policy.model import CategoryField

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from discreet_contract.policy.lints.table import Finding
    from discreet_contract.policy.model import Policy

DAY = 86_400
SENSITIVE_RETENTION_DAYS = 30
SENSITIVE_WINDOW_DAYS = 7
EPSILON_CEILING = 2.0
YEARLY_CEILING = 24.0
LIFETIME_CEILING = 120.0
MANY_CATEGORIES = 100


@rule
def sensitive_long(policy: Policy, _today: date) -> Iterator[Finding]:
    """A sensitive signal that is kept for longer than thirty days."""
    for name, signal in policy.signals.items():
        if signal.sensitivity == "sensitive" and seconds(signal.retention) > SENSITIVE_RETENTION_DAYS * DAY:
            yield ("signals", name, "retention"), f"sensitive and kept for more than {SENSITIVE_RETENTION_DAYS} days"


@rule
def sensitive_often(policy: Policy, _today: date) -> Iterator[Finding]:
    """A sensitive signal that is reported more often than once a week; repeats can be averaged."""
    for name, metric in policy.metrics.items():
        sensitive = policy.signals[metric.from_].sensitivity == "sensitive"
        if sensitive and metric.window_seconds < SENSITIVE_WINDOW_DAYS * DAY:
            yield ("metrics", name, "window"), f"sensitive and reported every {metric.window}; take a longer window"


@rule
def sensitive_unasked(policy: Policy, _today: date) -> Iterator[Finding]:
    """A sensitive signal that is recorded before anybody said yes (`consent: opt-out`)."""
    for name, signal in policy.signals.items():
        if signal.sensitivity == "sensitive" and policy.consent == "opt-out":
            yield ("signals", name, "sensitivity"), "sensitive, and recorded before anybody said yes"


@rule
def epsilon_high(policy: Policy, _today: date) -> Iterator[Finding]:
    """One report costs more than ε = 2."""
    for name, metric in policy.metrics.items():
        if metric.epsilon > EPSILON_CEILING:
            yield (
                ("metrics", name, "epsilon"),
                f"one report costs ε = {metric.epsilon:g}, over {EPSILON_CEILING:g}",
            )


@rule
def year_high(policy: Policy, _today: date) -> Iterator[Finding]:
    """The yearly cap lies above ε = 24."""
    if policy.budget.per_365_days > YEARLY_CEILING:
        message = f"a device may lose ε = {policy.budget.per_365_days:g} a year, over {YEARLY_CEILING:g}"
        yield ("budget", "per_365_days"), message


@rule
def lifetime_high(policy: Policy, _today: date) -> Iterator[Finding]:
    """The lifetime cap lies above ε = 120."""
    if policy.budget.lifetime > LIFETIME_CEILING:
        message = f"a device may lose ε = {policy.budget.lifetime:g} in all, over {LIFETIME_CEILING:g}"
        yield ("budget", "lifetime"), message


@rule
def fingerprint(policy: Policy, _today: date) -> Iterator[Finding]:
    """A report that carries two or more public dimensions in the clear sets small groups of devices apart."""
    for name, metric in policy.metrics.items():
        if len(metric.by) > 1:
            yield ("metrics", name, "by"), f"{' and '.join(metric.by)} together set small groups apart; split by one"


@rule
def identifying(policy: Policy, _today: date) -> Iterator[Finding]:
    """A category of more than a hundred values comes close to naming a person or a place."""
    for name, signal in policy.signals.items():
        for field_name, field in signal.fields.items():
            if isinstance(field, CategoryField) and len(field.values) > MANY_CATEGORIES:
                message = f"{len(field.values)} values come close to a name; group them"
                yield ("signals", name, "fields", field_name, "values"), message


@rule
def sender_unknown(policy: Policy, _today: date) -> Iterator[Finding]:
    """A sender without user, group or token: anybody on the device is that sender."""
    for name, sender in policy.senders.items():
        if sender.uid is None and sender.gid is None and sender.token_sha256 is None:
            yield ("senders", name), "name a uid, a gid or a token_sha256, or everybody on the device is this sender"


@rule
def feature_outlives(policy: Policy, _today: date) -> Iterator[Finding]:
    """A feature of a sensitive signal that looks back, or lives on, further than the signal itself may be kept."""
    for name, feature in policy.features.items():
        signal = policy.signals[feature.from_]
        longest = max(seconds(feature.window or "0s"), seconds(feature.ttl or "0s"))
        if signal.sensitivity == "sensitive" and longest > SENSITIVE_RETENTION_DAYS * DAY:
            message = f"remembers a sensitive signal for more than {SENSITIVE_RETENTION_DAYS} days"
            yield ("features", name), message
