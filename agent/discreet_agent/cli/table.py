"""Rows as a table of text."""

from __future__ import annotations

from typing import Any

import click


def show_table(rows: list[dict[str, Any]], columns: tuple[str, ...], *, empty: str) -> None:
    """Print the named columns, each as wide as its longest cell; or a word for no rows."""
    if not rows:
        click.echo(empty)
        return
    cells = [columns, *(tuple(f"{row[name]}" for name in columns) for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
