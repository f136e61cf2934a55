"""What `ingest.py` measured, as records and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND_SHARE = 0.70  # of the serial bound, one worker
PARTS = ("drain", "unseal", "insert", "receipts")  # what one worker does one after the other for each report


@dataclass(frozen=True, slots=True)
class Drained:
    """One run of the aggregator over a full queue."""

    store: str
    workers: int
    reports: int
    seconds: float
    worker_cpu_seconds: float
    broker_cpu_seconds: float
    database_cpu_seconds: float
    resident_mb: float

    @property
    def rate(self) -> float:
        """Admitted reports a second, to their durable commit."""
        return self.reports / self.seconds


@dataclass(frozen=True, slots=True)
class Bare:
    """One run of one limit."""

    name: str
    reports: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Reports a second."""
        return self.reports / self.seconds


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything of one call."""

    reports: int
    facts: dict[str, Any]
    drained: list[Drained]
    bare: list[Bare]

    def runs(self, store: str, workers: int) -> list[Drained]:
        """Repetitions of one case."""
        return [one for one in self.drained if (one.store, one.workers) == (store, workers)]

    def cases(self) -> list[tuple[str, int]]:
        """(store, workers) in the order of measuring."""
        return list(dict.fromkeys((one.store, one.workers) for one in self.drained))

    def bare_rates(self, name: str) -> list[float]:
        """Reports a second of one limit, one for each repetition."""
        return [one.rate for one in self.bare if one.name == name]

    def serial_bounds(self, store: str) -> list[float]:
        """1/Σ 1/rate of the four limits, one for each repetition: no worker that does one thing at a time is faster."""
        names = [f"{part} {store}" if part == "insert" else part for part in PARTS]
        by_part = [self.bare_rates(name) for name in names]
        return [1 / sum(1 / rate for rate in rates) for rates in zip(*by_part, strict=True)]


def tables(measured: Measurement) -> str:
    """Markdown: limits, cases, targets."""
    return "\n".join([*_head(measured), "", *_limits(measured), "", *_cases(measured), "", *_targets(measured)])


def _head(measured: Measurement) -> Iterator[str]:
    facts = measured.facts
    loads = ", ".join(f"{load:.1f}" for load in facts["loads"])
    yield (
        f"{measured.reports:,} reports, medians of {facts['runs']} runs in turn; {facts['processors']} processors, "
        f"{facts['file_system']}; load average before and after each run {loads}."
    )


def _limits(measured: Measurement) -> Iterator[str]:
    yield "| limit, alone in one process | reports/s | CPU µs / report |"
    yield "| --- | --- | --- |"
    for name in dict.fromkeys(one.name for one in measured.bare):
        cpu = median(one.cpu_seconds / one.reports * 1e6 for one in measured.bare if one.name == name)
        yield f"| {name} | {median(measured.bare_rates(name)):,.0f} | {cpu:.1f} |"
    for store in dict.fromkeys(store for store, _ in measured.cases()):
        yield f"| **serial bound with {store}** | {median(measured.serial_bounds(store)):,.0f} | |"


def _cases(measured: Measurement) -> Iterator[str]:
    heads = ("store", "workers", "reports/s", "of the serial bound", "of one worker")
    used = ("CPU µs / report: workers", "broker", "database", "largest worker MB")
    yield f"| {' | '.join((*heads, *used))} |"
    yield "| --- " * len((*heads, *used)) + "|"
    for store, workers in measured.cases():
        runs = measured.runs(store, workers)
        shares = [run.rate / bound for run, bound in zip(runs, measured.serial_bounds(store), strict=True)]
        of_one = [run.rate / one.rate for run, one in zip(runs, measured.runs(store, 1), strict=False)]
        cells = [
            *(f"{store}", f"{workers}", f"{median(run.rate for run in runs):,.0f}", f"{median(shares):.2f}"),
            f"{median(of_one):.2f}" if of_one else "",
            *(
                f"{median(getattr(run, name) / run.reports * 1e6 for run in runs):.0f}"
                for name in ("worker_cpu_seconds", "broker_cpu_seconds", "database_cpu_seconds")
            ),
            f"{median(run.resident_mb for run in runs):.0f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _targets(measured: Measurement) -> Iterator[str]:
    yield "| target | | measured | |"
    yield "| --- | --- | --- | --- |"
    for store, workers in measured.cases():
        runs = measured.runs(store, workers)
        if workers == 1:
            bounds = measured.serial_bounds(store)
            share = median(run.rate / bound for run, bound in zip(runs, bounds, strict=True))
            yield _target(f"one worker on {store}, of the serial bound", BOUND_SHARE, share)
        elif ones := measured.runs(store, 1):
            ratio = median(run.rate / one.rate for run, one in zip(runs, ones, strict=True))
            yield _target(f"{workers} workers on {store}, times one", 1.0, ratio)


def _target(what: str, least: float, value: float) -> str:
    return f"| {what} | ≥ {least:.2f} | {value:.2f} | {'met' if value >= least else '**missed**'} |"
