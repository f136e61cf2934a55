"""Whether a comparison can be believed."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

from discreet_contract.policy.lints.table import rule
from discreet_contract.policy.logic import variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.lints.table import Finding
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.trials import Experiment

DAY = 86_400
SALT_CHARACTERS = 8
HYPOTHESIS_WORDS = 8
EXPERIMENT_DAYS = 365
EXPERIMENT_EPSILON = 12.0


@rule
def trigger_measured(policy: Policy, _today: date) -> Iterator[Finding]:
    """A metric over a signal that triggers personalization measures its own cause."""
    for name, metric in policy.metrics.items():
        if policy.signals[metric.from_].role == "trigger":
            yield ("metrics", name, "from"), "a trigger signal is used to evaluate"


@rule
def eligible_by_outcome(policy: Policy, _today: date) -> Iterator[Finding]:
    """An experiment that picks its devices by a feature of the very signal that its primary metric measures."""
    for name, experiment in policy.experiments.items():
        measured = policy.metrics[experiment.primary].from_
        for feature in sorted(_features_behind(policy, experiment.eligible)):
            if policy.features[feature].from_ == measured:
                yield ("experiments", name, "eligible"), f"{feature!r} comes from {measured!r}, which is measured too"


@rule
def exposure_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """An experiment measures an outcome, and no signal of kind `exposure` tells who met a variant."""
    if any(signal.kind == "exposure" for signal in policy.signals.values()):
        return
    for name, experiment in policy.experiments.items():
        if policy.signals[policy.metrics[experiment.primary].from_].kind == "outcome":
            yield ("experiments", name, "primary"), "an outcome without an exposure: declare a signal of that kind"


@rule
def salt_short(policy: Policy, _today: date) -> Iterator[Finding]:
    """A salt of fewer than eight characters is likely to be met again."""
    for name, experiment in policy.experiments.items():
        if len(experiment.salt) < SALT_CHARACTERS:
            yield ("experiments", name, "salt"), f"a salt has {SALT_CHARACTERS} characters or more"


@rule
def salt_shared(policy: Policy, _today: date) -> Iterator[Finding]:
    """Two experiments with one salt put the same devices into the same arms."""
    first: dict[str, str] = {}
    for name, experiment in policy.experiments.items():
        earlier = first.setdefault(experiment.salt, name)
        if earlier != name:
            yield ("experiments", name, "salt"), f"{earlier!r} has the same salt, and so the same arms"


@rule
def hypothesis_short(policy: Policy, _today: date) -> Iterator[Finding]:
    """A hypothesis of fewer than eight words cannot name signal, environment and timing."""
    for name, experiment in policy.experiments.items():
        if len(experiment.hypothesis.split()) < HYPOTHESIS_WORDS:
            yield ("experiments", name, "hypothesis"), "say which signal moves, in which environment, and when"


@rule
def guardrail_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """An experiment without a guardrail: nothing tells what it breaks."""
    for name, experiment in policy.experiments.items():
        if not experiment.guardrails:
            yield ("experiments", name), "name a metric that must not get worse under `guardrails`"


@rule
def effect_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """An experiment that does not say how large an effect it hopes for, or in how many devices."""
    for name, experiment in policy.experiments.items():
        if experiment.effect is None or policy.expected_devices is None:
            message = "state `effect` and the fleet's `expected_devices`, so that its size can be judged"
            yield ("experiments", name), message


@rule
def experiment_over(policy: Policy, today: date) -> Iterator[Finding]:
    """An experiment whose end has passed: take its flag's final form and remove it."""
    for name, experiment in policy.experiments.items():
        if date.fromisoformat(experiment.end) <= today:
            yield ("experiments", name, "end"), f"ended on {experiment.end}; decide, and remove it"


@rule
def experiment_short(policy: Policy, _today: date) -> Iterator[Finding]:
    """An experiment that holds no whole window of its primary metric."""
    for name, experiment in policy.experiments.items():
        window = policy.metrics[experiment.primary].window_seconds
        if _whole_windows(experiment, window) < 1:
            yield ("experiments", name, "end"), "no whole window of the primary metric (UTC-aligned) lies inside it"


@rule
def experiment_long(policy: Policy, _today: date) -> Iterator[Finding]:
    """An experiment that runs for more than a year."""
    for name, experiment in policy.experiments.items():
        if _days(experiment) > EXPERIMENT_DAYS:
            yield ("experiments", name, "end"), f"runs for {_days(experiment)} days; end it sooner"


@rule
def experiment_costly(policy: Policy, _today: date) -> Iterator[Finding]:
    """All metrics of an experiment together cost a device more than ε = 12 within any 365 days of it."""
    for name, experiment in policy.experiments.items():
        days = min(_days(experiment), 365)
        metrics = [policy.metrics[metric] for metric in (experiment.primary, *dict.fromkeys(experiment.guardrails))]
        loss = sum(metric.epsilon * math.ceil(days * DAY / metric.window_seconds) for metric in metrics)
        if loss > EXPERIMENT_EPSILON:
            yield ("experiments", name), f"costs a device ε = {loss:g}, over {EXPERIMENT_EPSILON:g}"


def _features_behind(policy: Policy, logic: object) -> set[str]:
    """Features that a condition reads, directly or through scores and segments."""
    found: set[str] = set()
    for variable in variables(logic):
        group, _, rest = variable.partition(".")
        if group == "segments":
            read = [policy.segments[rest]] if rest in policy.segments else policy.segments.values()
            for segment in read:
                found |= _features_behind(policy, [segment.when, segment.until])
            continue
        name = rest.partition(".")[0] if group in {"features", "scores"} else group
        found |= {name} & policy.features.keys()
        if name in policy.scores:
            found |= policy.scores[name].weights.keys()
    return found


def _days(experiment: Experiment) -> int:
    return (date.fromisoformat(experiment.end) - date.fromisoformat(experiment.start)).days


def _whole_windows(experiment: Experiment, window: int) -> int:
    epoch = date(1970, 1, 1)
    start, end = ((date.fromisoformat(day) - epoch).days * DAY for day in (experiment.start, experiment.end))
    return end // window - math.ceil(start / window)
