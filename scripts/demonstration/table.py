"""The table at the end: truth beside estimate, per metric and window, then the totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COLUMNS = ("window", "metric", "", "true", "estimate", "95% interval", "devices", "ε", "holds", "unit")
SIX_STANDARD_ERRORS = 6.0


@dataclass(frozen=True, slots=True)
class Row:
    """One estimated figure beside the truth."""

    result: dict[str, Any]
    truth: float

    @property
    def holds(self) -> bool:
        """Whether the interval holds the truth; nineteen times in twenty it should."""
        return bool(self.result["low"] <= self.truth <= self.result["high"])

    @property
    def is_far_off(self) -> bool:
        """More than six standard errors: less than once in five hundred million by chance."""
        return bool(abs(self.result["estimate"] - self.truth) > SIX_STANDARD_ERRORS * self.result["standard_error"])

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        r = self.result
        digits = 2 if r["unit"].startswith("departures") else 3
        interval = f"[{r['low']:.{digits}f}, {r['high']:.{digits}f}]"
        return (
            r["window_start"][:10],
            r["metric"],
            r["label"],
            f"{self.truth:.{digits}f}",
            f"{r['estimate']:.{digits}f}",
            interval,
            f"{r['devices']:,}",
            f"{r['epsilon']:g}",
            "yes" if self.holds else "no",
            r["unit"],
        )


def render(rows: list[Row]) -> str:
    """Aligned text."""
    cells = [COLUMNS, *(row.cells() for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])
