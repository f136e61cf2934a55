"""Whether the figures will mean anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.policy.lints.table import rule
from discreet_contract.policy.plan import plan_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from discreet_contract.policy.lints.table import Finding
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan

MIN_DEVICES_FLOOR = 20


@rule
def withheld_noisy(policy: Policy, _today: date) -> Iterator[Finding]:
    """At `min_devices` the noise alone spans more than half of the metric's range."""
    for name, plan in plan_metrics(policy).items():
        width = 2 * 1.96 * plan.mechanism.expected_error(plan.metric.min_devices)
        span = span_of(plan)
        if width > span / 2:
            message = f"at min_devices = {plan.metric.min_devices} the interval spans {width / span:.0%} of the range"
            yield ("metrics", name, "min_devices"), message


@rule
def min_devices_low(policy: Policy, _today: date) -> Iterator[Finding]:
    """A figure that is shown for fewer than twenty devices."""
    for name, metric in policy.metrics.items():
        if metric.min_devices < MIN_DEVICES_FLOOR:
            message = f"shown from {metric.min_devices} devices on; a group has {MIN_DEVICES_FLOOR} or more"
            yield ("metrics", name, "min_devices"), message


@rule
def never_shown(policy: Policy, _today: date) -> Iterator[Finding]:
    """A metric whose `min_devices` is more than the fleet is expected to have: nobody will ever see it."""
    for name, metric in policy.metrics.items():
        if policy.expected_devices is not None and metric.min_devices > policy.expected_devices:
            message = f"withheld below {metric.min_devices} devices, and {policy.expected_devices} are expected"
            yield ("metrics", name, "min_devices"), message


@rule
def interval_wide(policy: Policy, _today: date) -> Iterator[Finding]:
    """With the expected fleet, the noise of one window is wider than the effect that an experiment hopes for."""
    if policy.expected_devices is None:
        return
    plans = plan_metrics(policy)
    for name, experiment in policy.experiments.items():
        if experiment.effect is None:
            continue
        plan = plans[experiment.primary]
        enrolled = policy.expected_devices * float(experiment.traffic[:-1]) / 100
        arms = [enrolled * part / 100 for part in experiment.arms.values()]
        if min(arms) < 1:
            yield ("experiments", name, "traffic"), "an arm would hold no device at all"
            continue
        first, second = sorted(arms)[:2]
        errors = [plan.mechanism.expected_error(int(max(arm, 1))) for arm in (first, second)]
        width = 1.96 * sum(error**2 for error in errors) ** 0.5 * plan.step / plan.metric.display.divide
        if width > experiment.effect:
            message = f"± {width:.3g} of noise alone in one window, and an effect of {experiment.effect:g} is hoped for"
            yield ("experiments", name, "effect"), message


@rule
def unit_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """A metric of numbers whose `display` has no unit: its readers must guess."""
    for name, metric in policy.metrics.items():
        if metric.type in {"count", "mean"} and not metric.display.unit:
            yield ("metrics", name), "say the unit under `display`"


@rule
def series_short(policy: Policy, _today: date) -> Iterator[Finding]:
    """A device's budget lasts for fewer than twelve windows of a metric: no long-term figure comes of it."""
    for name, metric in policy.metrics.items():
        if metric.epsilon * 12 > policy.budget.lifetime:
            windows = int(policy.budget.lifetime / metric.epsilon)
            yield ("metrics", name, "epsilon"), f"the lifetime cap pays for {windows} windows of it at the most"


def span_of(plan: MetricPlan) -> int:
    """Range of a metric in integer steps; 1 for shares."""
    return plan.high - plan.low if plan.metric.type in {"count", "mean"} else 1
