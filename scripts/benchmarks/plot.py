"""The table of docs/mechanisms.md as a picture: plot.py docs/mechanisms.md docs/mechanisms.svg.

Left: error over the optimum by number of categories. Right: what a report weighs, and how fast a server adds it up.
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT = 960, 430
PANEL, TOP, BOTTOM = 400, 50, 360
COLOURS = {0.5: "#1b6ca8", 1.0: "#2a9d4a", 2.0: "#d08a00", 4.0: "#b3325f"}
SHAPES = {"ours": "#1b6ca8", "pure-ldp": "#d08a00", "multi-freq-ldpy": "#8a8a8a"}
TARGET = 1.05


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    categories: int
    epsilon: float
    who: str
    by_odds: float | None
    measured: float
    payload_bytes: int
    server_per_second: float

    @property
    def group(self) -> str:
        """Ours, or one of the peers."""
        if self.by_odds is not None:
            return "ours"
        return "pure-ldp" if self.who.startswith("pure.") else "multi-freq-ldpy"


def read_rows(text: str) -> list[Row]:
    """Rows of the first table whose first cell is a number of categories."""
    rows = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")][1:-1]
        if len(cells) == 9 and cells[0].isdigit():
            k, epsilon, who, by_odds, measured, size, _client, server, _decode = cells
            odds = float(by_odds) if by_odds else None
            speed = float(server.replace(",", ""))
            rows.append(Row(int(k), float(epsilon), who.strip("*"), odds, float(measured.split()[0]), int(size), speed))
    return rows


def draw(rows: list[Row]) -> str:
    """The whole picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_errors(rows),
        *_speeds(rows),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _errors(rows: list[Row]) -> Iterable[str]:
    x = _log_scale(4, 10_000, 70, 70 + PANEL - 60)
    y = _linear_scale(0.98, 1.10)
    yield _text(70, 30, "Error over the optimum, by the odds (ours)", bold=True)
    yield from _axis_x(x, [4, 16, 128, 1024, 10_000], "categories")
    for tick in (1.0, 1.02, 1.04, 1.06, 1.08, 1.10):
        yield _grid(70, 70 + PANEL - 60, y(tick), f"{tick:.2f}")
    end, at = 70 + PANEL - 60, y(TARGET)
    yield f'<line x1="70" x2="{end}" y1="{at}" y2="{at}" stroke="#999" stroke-dasharray="5 4"/>'
    yield _text(75, y(TARGET) - 5, "target 1.05 for k ≥ 128", colour="#666")
    for number, (epsilon, colour) in enumerate(COLOURS.items()):
        own = [(row.categories, row.by_odds) for row in rows if row.by_odds is not None and row.epsilon == epsilon]
        points = " ".join(f"{x(k):.1f},{y(value):.1f}" for k, value in own)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x(k):.1f}" cy="{y(v):.1f}" r="3.5" fill="{colour}"/>' for k, v in own)
        yield f'<rect x="{75 + 85 * number}" y="{BOTTOM + 48}" width="12" height="12" fill="{colour}"/>'
        yield _text(92 + 85 * number, BOTTOM + 58, f"ε = {epsilon:g}")


def _speeds(rows: list[Row]) -> Iterable[str]:
    left = 70 + PANEL + 60
    x = _log_scale(1, 2000, left, left + PANEL - 60)
    y = _log_scale(1000, 2e9, BOTTOM, TOP)
    yield _text(left, 30, "Bytes of a report, and reports a second on the server", bold=True)
    yield from _axis_x(x, [1, 4, 16, 128, 1024], "bytes")
    for exponent in range(3, 10):
        yield _grid(left, left + PANEL - 60, y(10**exponent), f"10{_superscript(exponent)}")
    for number, (group, colour) in enumerate(SHAPES.items()):
        members = [row for row in rows if row.group == group]
        yield from (
            f'<circle cx="{x(row.payload_bytes):.1f}" cy="{y(row.server_per_second):.1f}" r="4.5" fill="{colour}" '
            f'fill-opacity="0.75"><title>{row.who}, k = {row.categories}, ε = {row.epsilon:g}</title></circle>'
            for row in members
        )
        yield f'<circle cx="{left + 8 + 125 * number}" cy="{BOTTOM + 54}" r="5" fill="{colour}"/>'
        yield _text(left + 18 + 125 * number, BOTTOM + 58, group)


def _axis_x(x: Callable[[float], float], ticks: list[int], title: str) -> Iterable[str]:
    for tick in ticks:
        yield _text(x(tick), BOTTOM + 18, f"{tick:,}", anchor="middle")
    yield _text((x(ticks[0]) + x(ticks[-1])) / 2, BOTTOM + 36, title, anchor="middle", colour="#666")


def _grid(left: float, right: float, y: float, label: str) -> str:
    line = f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
    return line + _text(left - 8, y + 4, label, anchor="end")


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#222", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{text}</text>'


def _superscript(number: int) -> str:
    return "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(number))


def _log_scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (math.log(value / low) / math.log(high / low)) * (end - start)


def _linear_scale(low: float, high: float) -> Callable[[float], float]:
    return lambda value: BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(read_rows(source.read_text(encoding="utf-8"))), encoding="utf-8")
