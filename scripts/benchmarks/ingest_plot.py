"""The growth of `ingest.py --grow` as a picture: reports a second, and bytes of what knows the ids, over ids known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest_grow import Grown

WIDTH, PANEL, GAP, LEFT, RIGHT, TOP = 960, 150, 58, 70, 940, 34
COLOURS = ("#1b6ca8", "#2a9d4a", "#b3325f", "#d08a00")
PANELS: tuple[tuple[str, Callable[[Grown], float]], ...] = (
    ("Reports a second, decoded report to durable commit", lambda one: one.rate),
    ("CPU µs of the worker, a report", lambda one: one.cpu_us),
    ("Bytes that know an id", lambda one: one.dedupe_bytes),
)


def draw(grown: Sequence[Grown]) -> str:
    """The picture as SVG."""
    height = TOP + len(PANELS) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"',
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, of) in enumerate(PANELS):
        parts += _panel(grown, title, of, TOP + number * (PANEL + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(grown: Sequence[Grown], title: str, of: Callable[[Grown], float], top: int) -> Iterator[str]:
    most = max(one.reports for one in grown)
    highest = max(map(of, grown)) * 1.1
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold" fill="#222">{title}</text>'
    for share in (0.0, 0.5, 1.0):
        y = top + PANEL * (1 - share / 1.1)
        yield f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        value = highest / 1.1 * share
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#222">{_figure(value)}</text>'
    for number, shape in enumerate(dict.fromkeys(one.shape for one in grown)):
        colour, own = COLOURS[number % len(COLOURS)], [one for one in grown if one.shape == shape]
        places = [(LEFT + (RIGHT - LEFT) * one.reports / most, top + PANEL * (1 - of(one) / highest)) for one in own]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        yield f'<rect x="{LEFT + 190 * number}" y="{top + PANEL + 24}" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{LEFT + 18 + 190 * number}" y="{top + PANEL + 34}" fill="#222">{shape}</text>'
    label = f"{most / 1e6:g} million ids"
    yield f'<text x="{RIGHT}" y="{top + PANEL + 14}" text-anchor="end" fill="#666">{label}</text>'


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
