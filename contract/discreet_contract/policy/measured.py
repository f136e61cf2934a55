"""What a metric measures, as its mechanism knows it: labels, integer range, edges. From the policy, never from data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from discreet_contract.mechanisms.catalogue import Shape, best
from discreet_contract.mechanisms.histogram import bucket_labels
from discreet_contract.mechanisms.memoised import MemoisedResponse
from discreet_contract.mechanisms.open_strings import cell_labels
from discreet_contract.policy.model import NONE_LABEL, CategoryField, NumberField

if TYPE_CHECKING:
    from discreet_contract.policy.model import Metric, Signal

PAYLOAD_LIMIT = 4  # bytes; what one report adds to an envelope
YES_NO = ("no", "yes")


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's public parameters on its integer grid."""

    shape: Shape
    grid: float  # raw unit per integer step
    edges: tuple[int, ...] = ()  # of a histogram's buckets, in steps


def measure(signal: Signal, metric: Metric) -> Measured:
    """Public parameters of a metric whose references were checked."""
    grid = grid_of(signal, metric)
    field = signal.fields.get(metric.field)
    draws = metric.draws if metric.is_memoised else 1
    match metric.type:
        case "binary" if metric.is_memoised:
            return Measured(Shape(YES_NO, draws=draws), grid)
        case "category" if isinstance(field, CategoryField):
            return Measured(Shape((*field.values, NONE_LABEL), draws=draws), grid)
        case "multi_select" if isinstance(field, CategoryField):
            return Measured(Shape(field.values, at_most=metric.at_most or 1), grid)
        case "histogram":
            edges = tuple(round(edge / grid) for edge in metric.edges)
            return Measured(Shape((*bucket_labels(metric.edges), NONE_LABEL)), grid, edges)
        case "open":
            return Measured(Shape(cell_labels()), grid)
    low, high = metric.bounds or (0, 1)
    return Measured(Shape(bounds=(round(low / grid), round(high / grid))), grid)


def mechanism_id(signal: Signal, metric: Metric) -> str:
    """The declared mechanism, or the one that `auto` takes."""
    if metric.mechanism != "auto":
        return metric.mechanism
    if metric.is_memoised:
        return MemoisedResponse.id
    return _best(metric.type, metric.epsilon, measure(signal, metric).shape)


def grid_of(signal: Signal, metric: Metric) -> float:
    """Step of the raw unit in which a metric's value is an integer."""
    field = signal.fields.get(metric.field)
    return field.grid if isinstance(field, NumberField) else 1.0


@lru_cache(maxsize=256)
def _best(metric_type: str, epsilon: float, shape: Shape) -> str:
    return best(metric_type, epsilon, shape, payload_limit=PAYLOAD_LIMIT)
