"""Results as aligned text for people at a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_aggregator.adjust import Adjustment, adjusted
from discreet_aggregator.metrics import iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from discreet_aggregator.estimate import MetricResult
    from discreet_aggregator.rotation import KeyUse
    from discreet_aggregator.store.reader import RefusalCount

_METRIC_HEAD = ("metric", "label", "window", "estimate", "95% interval", "devices", "ε", "mechanism", "unit", "status")
_KEYS_HEAD = ("id", "public key", "policy versions", "from", "until", "private half here", "retire from")
_REFUSAL_HEAD = ("day", "metric", "reason", "count")


def metrics_table(results: Sequence[MetricResult], adjustment: Adjustment = Adjustment.NONE) -> str:
    """One line a label; a withheld window is one line that says so and gives no number.

    Where reports carry dimensions, a column says which devices a line is about.
    """
    lines = [_METRIC_HEAD, *(line for result in results for line in _metric_lines(result))]
    if any(result.cell.dimensions for result in results):
        whose = ["devices of", *(_whose(result) for result in results for _ in result.figures or (None,))]
        lines = [(*line[:3], cell, *line[3:]) for line, cell in zip(lines, whose, strict=True)]
    if adjustment is Adjustment.NONE:
        return _aligned(lines)
    shown = [value for result in results for value in adjusted(result, adjustment) or (None,)]
    column = [adjustment.value, *("-" if value is None else f"{value:.4g}" for value in shown)]
    return _aligned([(*line, cell) for line, cell in zip(lines, column, strict=True)])


def refusals_table(counts: Iterable[RefusalCount]) -> str:
    """One line a day, metric and reason."""
    return _aligned([_REFUSAL_HEAD, *((one.day, one.metric or "-", one.reason, str(one.count)) for one in counts)])


def keys_table(uses: Iterable[KeyUse]) -> str:
    """One line a key; `-` where no policy names it."""
    lines = [
        (
            use.id,
            use.public_key,
            ", ".join(map(str, use.versions)) or "-",
            use.begins or "-",
            use.ends or "-",
            use.held,
            use.retire_from if use.versions else "-",
        )
        for use in uses
    ]
    return _aligned([_KEYS_HEAD, *lines])


def _metric_lines(result: MetricResult) -> Iterator[tuple[str, ...]]:
    cell = result.cell
    window = _window(result)
    tail = (f"{result.epsilon:g}", result.mechanism, result.unit or "-", result.status.value)
    if result.withheld is not None:
        yield (cell.metric, "-", window, f"withheld: {result.withheld}", "-", "-", *tail)
    for figure in result.figures:
        interval = f"{figure.low:.4g} … {figure.high:.4g}"
        yield (cell.metric, figure.label, window, f"{figure.estimate:.4g}", interval, str(result.devices), *tail)


def _whose(result: MetricResult) -> str:
    """Which devices a cell is about: their arms, platform, release."""
    return ", ".join(f"{name} {value}" for name, value in result.cell.dimensions) or "-"


def _window(result: MetricResult) -> str:
    """The day a window starts, with the time of day only where windows are shorter than a day."""
    start = iso(result.cell.window_start)
    return start[:10] if result.window_end - result.cell.window_start >= 86_400 else start[:16].replace("T", " ")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
