"""Four curves over time, one above the other: memory, bytes on disk, open descriptors, slowest answers.

A long run is drawn as the greatest value of each short stretch, so that no peak is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH, PANEL, GAP, LEFT, RIGHT, TOP = 960, 110, 38, 70, 940, 34
PANELS = (
    ("rss_mb", "Resident memory, MB", "#1b6ca8"),
    ("disk_mb", "State folder, MB", "#2a9d4a"),
    ("descriptors", "Open descriptors", "#b3325f"),
    ("slowest_answer_ms", "Slowest answer in each second, ms", "#d08a00"),
)


MOST_POINTS = 435  # two of the picture's units each


class Measured(Protocol):
    """What every sample has."""

    @property
    def second(self) -> float:
        """Since the beginning."""
        ...


def draw(samples: Sequence[Measured], warm_seconds: float) -> str:
    """The picture as SVG; the time before everything was warm is grey."""
    height = TOP + len(PANELS) * (PANEL + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"',
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (name, title, colour) in enumerate(PANELS):
        parts += _panel(samples, name, title, colour, TOP + number * (PANEL + GAP), warm_seconds)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    samples: Sequence[Measured], name: str, title: str, colour: str, top: int, warm_seconds: float
) -> Iterable[str]:
    ends = samples[-1].second
    highest = max(getattr(sample, name) for sample in samples) * 1.1 or 1.0
    across = (RIGHT - LEFT) / ends
    warm = min(warm_seconds, ends) * across
    yield f'<rect x="{LEFT}" y="{top}" width="{warm:.1f}" height="{PANEL}" fill="#f2f2f2"/>'
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold" fill="#222">{title}</text>'
    for share in (0.0, 0.5, 1.0):
        y = top + PANEL * (1 - share / 1.1)
        yield f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#222">{highest / 1.1 * share:.3g}</text>'
    points = " ".join(
        f"{LEFT + second * across:.1f},{top + PANEL * (1 - value / highest):.1f}"
        for second, value in _peaks(samples, name)
    )
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    yield f'<text x="{RIGHT}" y="{top + PANEL + 14}" text-anchor="end" fill="#666">{ends / 60:.0f} minutes</text>'


def _peaks(samples: Sequence[Measured], name: str) -> Iterable[tuple[float, float]]:
    """(second, greatest value) of each stretch."""
    length = -(-len(samples) // MOST_POINTS)
    for begin in range(0, len(samples), length):
        stretch = samples[begin : begin + length]
        yield stretch[-1].second, max(getattr(sample, name) for sample in stretch)
