"""A metric as both sides run it: definition, version, mechanism and integer range, worked out once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rfc8785

from discreet_contract.mechanisms.catalogue import build
from discreet_contract.policy.measured import measure, mechanism_id
from discreet_contract.policy.model import CategoryField
from discreet_contract.policy.plain import plain_metric

if TYPE_CHECKING:
    from discreet_contract.mechanisms.mechanism import Mechanism
    from discreet_contract.policy.measured import Measured
    from discreet_contract.policy.model import Metric, Policy, Signal


# Words, and what changes who reports when or how a reader scales and names it, but not what is said.
_WORDS = {"why", "owner", "display", "rotate", "dictionary"}


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """Everything that device and server need to know of one metric of one policy."""

    name: str
    metric: Metric
    version: str
    mechanism: Mechanism
    grid: float  # raw unit per integer step
    low: int  # integer range of a count or mean after the grid; [0, 1] for every other type
    high: int
    edges: tuple[int, ...] = ()  # of a histogram's buckets, after the grid

    @property
    def step(self) -> float:
        """Raw unit of 1 in an estimate: a step of the grid for numbers; shares have none."""
        return self.grid if self.metric.type in {"count", "mean"} else 1.0


def plan_metrics(policy: Policy) -> dict[str, MetricPlan]:
    """Plan of every metric of a checked policy, in the policy's order."""
    return {name: _plan(name, policy.signals[metric.from_], metric) for name, metric in policy.metrics.items()}


def build_mechanism(mechanism_id: str, metric: Metric, measured: Measured) -> Mechanism:
    """A mechanism for this metric, whether or not it is the one it has."""
    shape = measured.shape
    return build(mechanism_id, metric.epsilon, shape.labels, shape.bounds, at_most=shape.at_most, draws=shape.draws)


def _plan(name: str, signal: Signal, metric: Metric) -> MetricPlan:
    measured = measure(signal, metric)
    return MetricPlan(
        name=name,
        metric=metric,
        version=_version(signal, metric, measured),
        mechanism=build_mechanism(mechanism_id(signal, metric), metric, measured),
        grid=measured.grid,
        low=measured.shape.bounds[0],
        high=measured.shape.bounds[1],
        edges=measured.edges,
    )


def _version(signal: Signal, metric: Metric, measured: Measured) -> str:
    """Eight bytes of a hash over the definition and what it takes from its signal, in hex.

    Sums may only be added under one version, so a category list that changed is a new one. Words
    about a metric, and how a reader scales it, change no figure and start no new series;
    `min_devices` does, so that lowering it never uncovers what was collected under a higher one.
    """
    meaning = {key: value for key, value in plain_metric(metric).items() if key not in _WORDS}
    is_of_categories = isinstance(signal.fields.get(metric.field), CategoryField) and metric.type != "binary"
    labels = list(measured.shape.labels) if is_of_categories else []
    definition = rfc8785.dumps([meaning, labels, measured.grid])
    return hashlib.sha256(b"discreet metric 1\0" + definition).hexdigest()[:16]
