"""A metric as both sides run it: definition, version, mechanism and integer range, worked out once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import rfc8785

from discreet_contract.mechanisms.catalogue import FITTING, build
from discreet_contract.policy.check import grid_of
from discreet_contract.policy.model import NONE_LABEL, CategoryField

if TYPE_CHECKING:
    from discreet_contract.mechanisms.mechanism import Mechanism
    from discreet_contract.policy.model import Metric, Policy


_WORDS = {"why", "owner", "display", "rotate"}  # taking turns changes who reports when, not what is said


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """Everything that device and server need to know of one metric of one policy."""

    name: str
    metric: Metric
    version: str
    mechanism: Mechanism
    grid: float  # raw unit per integer step
    low: int  # integer range after the grid; a bit is [0, 1], a category's index [0, k−1]
    high: int


def plan_metrics(policy: Policy) -> dict[str, MetricPlan]:
    """Plan of every metric of a checked policy, in the policy's order."""
    return {name: _plan(policy, name, metric) for name, metric in policy.metrics.items()}


def mechanism_id(metric: Metric) -> str:
    """The declared mechanism, or the one `auto` takes."""
    return FITTING[metric.type][0] if metric.mechanism == "auto" else metric.mechanism


def _plan(policy: Policy, name: str, metric: Metric) -> MetricPlan:
    signal = policy.signals[metric.from_]
    field = signal.fields.get(metric.field)
    labels: tuple[str, ...] = ()
    grid = grid_of(signal, metric)
    low, high = 0, 1
    if metric.type == "category" and isinstance(field, CategoryField):
        labels = (*field.values, NONE_LABEL)
        high = len(labels) - 1
    elif metric.bounds is not None:
        low, high = (round(bound / grid) for bound in metric.bounds)
    mechanism = build(mechanism_id(metric), metric.epsilon, labels, (low, high))
    return MetricPlan(name, metric, _version(metric, labels, grid), mechanism, grid, low, high)


def _version(metric: Metric, labels: tuple[str, ...], grid: float) -> str:
    """Eight bytes of a hash over the definition and what it takes from its signal, in hex.

    Sums may only be added under one version, so a category list that changed is a new one. Words
    about a metric, and how a reader scales it, change no figure and start no new series;
    `min_devices` does, so that lowering it never uncovers what was collected under a higher one.
    """
    meaning = {key: value for key, value in msgspec.to_builtins(metric).items() if key not in _WORDS}
    definition = rfc8785.dumps([meaning, list(labels), grid])
    return hashlib.sha256(b"discreet metric 1\0" + definition).hexdigest()[:16]
