"""`discreet aggregator watermark`: what time it is for admission, and an operator's word on it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from discreet_aggregator.config import load_config


def _parse_time(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None or text == "now":
        return None if text is None else datetime.now(UTC)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.BadParameter("neither `now` nor a time such as 2026-11-23T17:00:00Z") from exc
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@click.command("watermark")
@click.option("--config", "-c", "config_file", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--set", "new_time", callback=_parse_time, metavar="TIME", help="Set it: `now`, or a time in UTC.")
@click.option("--reason", default="", help="Why; kept with the change.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def watermark_command(config_file: Path | None, new_time: datetime | None, reason: str, *, as_json: bool) -> None:
    """Print the latest time the aggregator has seen, or set it after a clock was wrong.

    A report is too late by this time, not by the machine's clock, so that a clock that goes back opens no
    window again. Set it back after a clock had run ahead. What was forgotten meanwhile stays too late, so that
    nothing can count twice; reports that were refused as too late meanwhile keep their verdict.

    \b
    Example:
      discreet aggregator watermark --set now --reason "the clock was a year ahead"
    """
    from discreet_aggregator.metrics import iso
    from discreet_aggregator.store.reader import Reader
    from discreet_aggregator.store.store import Store

    where = load_config(config_file).where
    if new_time is not None:
        if not reason.strip():
            raise click.UsageError("--set needs a --reason")
        with Store(where) as store, store.transaction() as transaction:
            transaction.set_watermark(
                round(new_time.timestamp() * 1000), reason, round(datetime.now(UTC).timestamp() * 1000)
            )
    with Reader(where) as reader:
        watermark, changes = reader.watermark(), reader.interventions()
    forgotten = iso(watermark.forgotten_seconds) if watermark.forgotten_seconds else None
    if as_json:
        rows = [{"at": iso(at_ms // 1000), "what": what, "reason": why} for at_ms, what, why in changes]
        click.echo(json.dumps({"now": iso(watermark.now_ms // 1000), "forgotten": forgotten, "changes": rows}))
        return
    click.echo(f"now: {iso(watermark.now_ms // 1000)}")
    click.echo(f"reports that were too late by {forgotten or 'any time so far: none'} are forgotten")
    for at_ms, what, why in changes:
        click.echo(f"{iso(at_ms // 1000)}: {what}: {why}")
