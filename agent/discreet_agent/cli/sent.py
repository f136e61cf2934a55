"""`discreet agent preview` and `sent`: the exact bytes that wait and that left, and what they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import click

from discreet_agent.cli.options import config_option, json_option
from discreet_agent.cli.table import show_table
from discreet_agent.config import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from discreet_agent.store.outbox import Outbox

    _Command = TypeVar("_Command", bound=Callable[..., Any])

MOST_SHOWN = 1_000


def _paged(command: _Command) -> _Command:
    options = (
        click.option("--report", callback=_parse_id, metavar="ID", help="Only this one, by its 32 hex digits."),
        click.option("--limit", type=click.IntRange(1), default=MOST_SHOWN, show_default=True, help="At most so many."),
        click.option("--offset", type=click.IntRange(0), default=0, show_default=True, help="Leave out the first."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _parse_id(_context: click.Context, _parameter: click.Parameter, text: str | None) -> bytes | None:
    try:
        report_id = None if text is None else bytes.fromhex(text)
    except ValueError:
        report_id = b""
    if report_id is not None and len(report_id) != 16:
        raise click.BadParameter("a report's id has 32 hex digits")
    return report_id


@click.command()
@_paged
@config_option
@json_option
def sent(config: Path | None, report: bytes | None, limit: int, offset: int, *, as_json: bool) -> None:
    """Show every report that left or waits to leave, the newest window first.

    What each one says, when it went and how often, and what became of it; with --json also its exact bytes.

    \b
    Examples:
      discreet agent sent
      discreet agent sent --report 0123456789abcdef0123456789abcdef --json
    """
    from discreet_agent.status import describe_sent

    rows = describe_sent(_outbox(config), limit + 1, offset, report)
    columns = ("window_start", "metric", "mechanism", "says", "state", "times_sent", "last_sent", "envelope_bytes")
    _show("sent", rows, columns, limit, offset, as_json=as_json)


@click.command()
@_paged
@config_option
@json_option
def preview(config: Path | None, report: bytes | None, limit: int, offset: int, *, as_json: bool) -> None:
    """Show every report that waits, in the order in which they go: what it says and when it is due.

    With --json also its exact bytes: these leave, and no others. What has been sent already is due again where no
    receipt comes.

    \b
    Example:
      discreet agent preview --json
    """
    from discreet_agent.status import describe_preview

    rows = describe_preview(_outbox(config), limit + 1, offset, report)
    columns = ("goes_at", "window_start", "metric", "mechanism", "says", "times_sent", "envelope_bytes")
    _show("preview", rows, columns, limit, offset, as_json=as_json)


def _outbox(config: Path | None) -> Outbox:
    from discreet_agent.export import open_for_reading
    from discreet_agent.store.outbox import Outbox

    return Outbox(open_for_reading(load_settings(config).state_dir).conn)


def _show(
    name: str, rows: list[dict[str, Any]], columns: tuple[str, ...], limit: int, offset: int, *, as_json: bool
) -> None:
    """One page; `rows` holds one more where there is another."""
    if as_json:
        click.echo(json.dumps({name: rows[:limit]}))
    else:
        empty = "nothing was sent" if name == "sent" else "nothing waits"
        show_table(rows[:limit], columns, empty=empty)
    if len(rows) > limit:
        click.echo(f"there are more: --offset {offset + limit}", err=True)
