"""What `ingest.py` measured, as records and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from ingest_profile import STEPS, TRANSACTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest_grow import Grown

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
    queue_bytes: float  # of the broker's memory for each message that waited, its payload included

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
class Profiled:
    """A full queue under the profile: seconds by step, and CPU seconds of the hungriest functions, of all workers."""

    store: str
    workers: int
    reports: int
    cpu: dict[str, float]
    wall: dict[str, float]
    functions: dict[str, float]


@dataclass(frozen=True, slots=True)
class Waited:
    """Seconds until the receipt, ascending."""

    store: str
    per_second: float
    seconds: list[float]

    def quantile_ms(self, share: float) -> float:
        """Milliseconds within which this share had its receipt."""
        return self.seconds[min(int(len(self.seconds) * share), len(self.seconds) - 1)] * 1000


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything of one call."""

    reports: int
    facts: dict[str, Any]
    drained: list[Drained]
    bare: list[Bare]
    profiled: list[Profiled]
    waited: list[Waited]

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
    parts = (_head, _limits, _cases, _targets, _profiles, _waits)
    return "\n\n".join("\n".join(part(measured)) for part in parts)


def figures(measured: Measurement) -> dict[str, dict[str, float]]:
    """Per report, by store: what a plan for more devices is made from."""
    kept: dict[str, dict[str, float]] = {}
    for store, workers in measured.cases():
        if workers == 1:
            runs = measured.runs(store, workers)
            kept[store] = {
                "reports_per_second": round(median(run.rate for run in runs)),
                "worker_cpu_us": round(median(run.worker_cpu_seconds / run.reports * 1e6 for run in runs), 1),
                "broker_cpu_us": round(median(run.broker_cpu_seconds / run.reports * 1e6 for run in runs), 1),
                "queue_bytes": round(median(run.queue_bytes for run in runs)),
                **_of_profile(measured, store),
                "database_cpu_us": round(median(run.database_cpu_seconds / run.reports * 1e6 for run in runs), 1),
            }
    return kept


def _of_profile(measured: Measurement, store: str) -> dict[str, float]:
    """How long a report keeps the one writer's lock."""
    one = next(one for one in measured.profiled if (one.store, one.workers) == (store, 1))
    held = sum(one.wall.get(step, 0.0) for step in TRANSACTION)
    return {"transaction_us": round(held / one.reports * 1e6, 1)}


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


def _profiles(measured: Measurement) -> Iterator[str]:
    """CPU by step; wall time only where it is another matter: waiting for the one writer's lock, and for the disk."""
    yield f"| CPU µs / report | {' | '.join(_named(one) for one in measured.profiled)} |"
    yield "| --- " * (1 + len(measured.profiled)) + "|"
    for step in STEPS:
        yield f"| {step} | {' | '.join(_micros(one, one.cpu.get(step, 0.0)) for one in measured.profiled)} |"
    yield f"| **all** | {' | '.join(_micros(one, sum(one.cpu.values())) for one in measured.profiled)} |"
    waits = ("wait for the lock", "commit")
    for step in waits:
        yield f"| {step}, wall | {' | '.join(_micros(one, one.wall.get(step, 0.0)) for one in measured.profiled)} |"
    held = (sum(one.wall.get(step, 0.0) for step in TRANSACTION) for one in measured.profiled)
    cells = (_micros(one, seconds) for one, seconds in zip(measured.profiled, held, strict=True))
    yield f"| lock held, wall | {' | '.join(cells)} |"


def _named(one: Profiled) -> str:
    return f"{one.store}, {one.workers} worker{'s' * (one.workers > 1)}"


def _micros(one: Profiled, seconds: float) -> str:
    return f"{seconds / one.reports * 1e6:.1f}"


def _waits(measured: Measurement) -> Iterator[str]:
    yield "| publish → receipt, one worker | reports/s sent | p50 ms | p99 ms | largest ms |"
    yield "| --- | --- | --- | --- | --- |"
    for one in measured.waited:
        cells = [one.quantile_ms(0.5), one.quantile_ms(0.99), one.quantile_ms(1.0)]
        yield f"| {one.store} | {one.per_second:.0f} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"


def growth(grown: Sequence[Grown]) -> str:
    """Markdown: every few millions a row for each shape, and whether the rate stayed."""
    speed = (
        "shape",
        "ids known",
        "reports/s",
        "of a new database",
        "CPU µs / report",
        "of it lookup",
        "slowest batch ms",
    )
    heads = (*speed, "bytes an id", "archive", "MB")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for shape in dict.fromkeys(one.shape for one in grown):
        own = [one for one in grown if one.shape == shape]
        for place, one in enumerate(own):
            if place in {0, 1, 2, 4, 9, 14, 19, len(own) - 1}:
                lines.append(_grown_row(one))
    for shape in dict.fromkeys(one.shape for one in grown):
        own = [one for one in grown if one.shape == shape]
        first = next((one for one in own if one.reports * 10 >= own[-1].reports), own[0])
        times, cpu = own[-1].rate / first.rate, own[-1].cpu_us / first.cpu_us
        lines += [
            "",
            f"{shape}, {first.reports:,} → {own[-1].reports:,} ids: reports/s × {times:.2f}, CPU × {cpu:.2f}.",
        ]
    return "\n".join(lines)


def _grown_row(one: Grown) -> str:
    cells = [
        *(one.shape, f"{one.reports:,}", f"{one.rate:,.0f}"),
        f"{one.rate / one.fresh_rate:.2f}" if one.fresh_rate else "",
        *(f"{one.cpu_us:.1f}", f"{one.lookup_us:.1f}" if one.lookup_us else "", f"{one.slowest_batch_ms:.0f}"),
        *(f"{one.dedupe_bytes:.1f}", f"{one.archive_bytes:.1f}", f"{one.resident_mb:.0f}"),
    ]
    return f"| {' | '.join(cells)} |"


def growth_figures(grown: Sequence[Grown]) -> dict[str, dict[str, float]]:
    """Per report, by store: what a plan for more devices is made from."""
    figures: dict[str, dict[str, float]] = {}
    for shape in ("SQLite", "PostgreSQL"):
        own = [one for one in grown if one.shape == shape]
        if own:
            figures[shape] = {
                "archive_bytes": round(own[-1].archive_bytes, 1),
                "dedupe_bytes": round(own[-1].dedupe_bytes, 1),
                "lookup_us_per_million": round(own[-1].lookup_us / own[-1].reports * 1e6, 3),
            }
    return figures
