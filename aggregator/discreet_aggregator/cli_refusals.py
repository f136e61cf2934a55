"""`discreet aggregator refusals` and `quarantine`: what was not counted, why, and a look at some of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from discreet_aggregator.config import load_config
from discreet_aggregator.refusal import RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from discreet_aggregator.store.reader import RefusalCount

_config = click.option(
    "--config", "-c", "config_file", type=click.Path(path_type=Path), help="Configuration file of the aggregator."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
_reason = click.option("--reason", type=click.Choice([one.value for one in RefusalReason]), help="Only this reason.")


@click.command("refusals")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Only this day (UTC) and later ones.")
@click.option("--metric", default="", help="Only this metric.")
@_reason
@_config
@_json
def refusals_command(
    since: datetime | None, metric: str, reason: str | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print how many envelopes were refused, by day, metric and reason, and what each reason asks for.

    \b
    Example:
      discreet aggregator refusals --since 2027-01-01 --json
    """
    from discreet_aggregator.reasons import MEANINGS
    from discreet_aggregator.store.reader import Reader
    from discreet_aggregator.table import refusals_table

    with Reader(load_config(config_file).where) as reader:
        counts = list(_chosen(reader.refusals(), since, metric, reason))
    if as_json:
        click.echo(json.dumps({"refusals": [asdict(count) for count in counts]}))
        return
    if not counts:
        click.echo("no refusals")
        return
    click.echo(refusals_table(counts))
    met = {count.reason for count in counts}
    for one, (means, next_step) in MEANINGS.items():
        if one.value in met:
            click.echo(f"{one.value}: {means}. Next: {next_step}.")


def _chosen(
    counts: Iterable[RefusalCount], since: datetime | None, metric: str, reason: str | None
) -> Iterable[RefusalCount]:
    first = since.date().isoformat() if since else ""
    for one in counts:
        if one.day >= first and (not metric or one.metric == metric) and (reason is None or one.reason == reason):
            yield one


@click.command("quarantine")
@click.option("--show", "number", type=int, help="Print this envelope's bytes in hex.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="At most so many, newest first."
)
@_reason
@_config
@_json
def quarantine_command(
    number: int | None, limit: int, reason: str | None, config_file: Path | None, *, as_json: bool
) -> None:
    """Print a sample of refused envelopes: one a batch and reason, the newest 1,000 are kept.

    Bytes are as received, sealed; printing them opens nothing.

    \b
    Example:
      discreet aggregator quarantine --reason MALFORMED
      discreet aggregator quarantine --show 17
    """
    from discreet_aggregator.metrics import iso
    from discreet_aggregator.store.reader import Reader
    from discreet_contract.errors import ConfigError

    with Reader(load_config(config_file).where) as reader:
        if number is not None:
            envelope = reader.quarantined_envelope(number)
            if envelope is None:
                raise ConfigError(f"no envelope {number} here", hint="`discreet aggregator quarantine` lists them")
            click.echo(envelope.hex())
            return
        rows = reader.quarantine(reason or "", limit)
    if as_json:
        keys = ("number", "received_at", "reason", "bytes")
        found = [dict(zip(keys, (at, iso(ms // 1000), why, size), strict=True)) for at, ms, why, size in rows]
        click.echo(json.dumps({"quarantine": found}))
        return
    for at, ms, why, size in rows:
        click.echo(f"{at}  {iso(ms // 1000)}  {why}  {size} bytes")
    if not rows:
        click.echo("nothing is kept")
