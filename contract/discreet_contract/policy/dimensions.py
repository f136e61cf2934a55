"""Public facts on a report: which ones a metric of a policy may carry, for device and aggregator alike.

experiments.<name>   the device's arm, on the primary metric and the guardrails of the experiment, for windows
that lie wholly between its start and its end
platform, release    of the device, where the metric declares them
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from discreet_contract.clock import start_of_day

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan

MOST = 8  # on one report
FACTS = ("platform", "release")
_ARM = "experiments."
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


def arm_dimension(experiment: str) -> str:
    """What an arm is called on a report."""
    return _ARM + experiment


def names_arm(policy: Policy, plan: MetricPlan, experiment: str, window_start: int) -> bool:
    """Whether a report of this metric and window (start in seconds) names this experiment's arm."""
    item = policy.experiments.get(experiment)
    if item is None or "experiments" not in plan.metric.by or plan.name not in {item.primary, *item.guardrails}:
        return False
    end = window_start + plan.metric.window_seconds
    return start_of_day(item.start) <= window_start and end <= start_of_day(item.end)


def most_carried(policy: Policy, metric: str, day: str) -> int:
    """How many dimensions one report of a metric may carry in a window around that day: one arm for each layer."""
    running = [
        item
        for item in policy.experiments.values()
        if metric in {item.primary, *item.guardrails} and item.start <= day < item.end
    ]
    return len({item.layer for item in running}) + len({*FACTS} & {*policy.metrics[metric].by})


def is_legal(policy: Policy, plan: MetricPlan, window_start: int, dimensions: tuple[tuple[str, str], ...]) -> bool:
    """Whether a report may carry these: each declared, each value possible, each name once and in order.

    Experiments of one layer exclude one another, so that no device is in an arm of two for a whole window.
    """
    names = [name for name, _ in dimensions]
    if names != sorted(set(names)):
        return False
    layers = [policy.experiments[name].layer for name in map(_experiment, names) if name in policy.experiments]
    if len(layers) > len(set(layers)):
        return False
    return all(_is_legal_pair(policy, plan, window_start, *pair) for pair in dimensions)


def _is_legal_pair(policy: Policy, plan: MetricPlan, window_start: int, name: str, value: str) -> bool:
    if name in FACTS:
        return name in plan.metric.by and _LABEL.fullmatch(value) is not None
    if not name.startswith(_ARM):
        return False
    experiment = _experiment(name)
    return names_arm(policy, plan, experiment, window_start) and value in policy.experiments[experiment].arms


def _experiment(name: str) -> str:
    return name.removeprefix(_ARM) if name.startswith(_ARM) else ""
