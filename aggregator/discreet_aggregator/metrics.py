"""Stored sums → results, for commands and later the API. Reads; never writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from discreet_aggregator.accumulate import fold
from discreet_aggregator.adjust import Adjustment, adjusted
from discreet_aggregator.estimate import Context, MetricResult, estimate
from discreet_aggregator.store.reader import Reader

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_aggregator.estimate import Figure
    from discreet_aggregator.policies import PolicyShelf
    from discreet_aggregator.records import Cell
    from discreet_aggregator.store.reader import StoredCell
    from discreet_contract.policy.plan import MetricPlan


@dataclass(frozen=True, slots=True)
class Readout:
    """Results, and the cells that no loaded policy can explain (its policy was taken off `policies`)."""

    results: tuple[MetricResult, ...]
    unexplained: tuple[Cell, ...]


def read_metrics(database: str | Path, shelf: PolicyShelf, now_ms: int, metric: str = "") -> Readout:
    """Every window of one metric, or of all. Raises ConfigError where there is no database yet."""
    with Reader(database) as reader:
        now_ms = max(now_ms, reader.watermark().now_ms)
        stored = reader.cells(metric)
    results = []
    unexplained = []
    for one in stored:
        plan = shelf.plan(one.cell.metric, one.cell.metric_version)
        if plan is None:
            unexplained.append(one.cell)
            continue
        grace = shelf.grace(one.cell.metric, one.cell.metric_version)
        context = Context(now_ms, grace, _policy_versions(one, shelf))
        results.append(estimate(one.cell, _sums(one, plan), plan, context))
    return Readout(tuple(results), tuple(unexplained))


def as_rows(result: MetricResult, adjustment: Adjustment = Adjustment.NONE) -> list[dict[str, Any]]:
    """A result as flat rows for JSON: one a label, or a single one without numbers where it is withheld."""
    common = {
        "metric": result.cell.metric,
        "metric_version": result.cell.metric_version,
        "dimensions": dict(result.cell.dimensions),
        "window_start": iso(result.cell.window_start),
        "window_end": iso(result.window_end),
        "devices": result.devices,
        "epsilon": result.epsilon,
        "mechanism": result.mechanism,
        "unit": result.unit,
        "status": result.status.value,
        "withheld": result.withheld,
        "policy_versions": list(result.policy_versions),
        "level": result.level,
        "estimand": result.estimand,
    }
    rows = [common | _numbers(figure) for figure in result.figures or (None,)]
    if adjustment is Adjustment.NONE:
        return rows
    found = adjusted(result, adjustment) or (None,)
    return [row | {"adjusted": value, "adjustment": adjustment.value} for row, value in zip(rows, found, strict=True)]


def iso(at_seconds: int) -> str:
    """A time as people and programs read it, UTC."""
    return datetime.fromtimestamp(at_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _numbers(figure: Figure | None) -> dict[str, Any]:
    if figure is None:
        return dict.fromkeys(("label", "estimate", "low", "high", "standard_error"))
    return {
        "label": figure.label,
        "estimate": figure.estimate,
        "low": figure.low,
        "high": figure.high,
        "standard_error": figure.standard_error,
    }


def _sums(stored: StoredCell, plan: MetricPlan) -> tuple[int, ...]:
    """What is written, and what waits to be."""
    if not stored.waiting:
        return stored.sums
    added = tuple(map(int, fold(stored.waiting, plan.mechanism)))
    return tuple(map(sum, zip(stored.sums, added, strict=True))) if stored.sums else added


def _policy_versions(stored: StoredCell, shelf: PolicyShelf) -> tuple[int, ...]:
    return tuple(sorted(shelf[digest].policy.version for digest in stored.policy_hashes if digest in shelf))
