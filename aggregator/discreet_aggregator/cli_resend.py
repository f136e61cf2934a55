"""`discreet aggregator resend`: ask the fleet for reports that this side has lost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from discreet_aggregator.config import load_config
from discreet_contract.resend import MAX_REASON_LENGTH


def _parse_reason(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if not 1 <= len(text.strip()) <= MAX_REASON_LENGTH:
        raise click.BadParameter(f"say why, in at most {MAX_REASON_LENGTH} characters")
    return text.strip()


@click.command("resend")
@click.option("--config", "-c", "config_file", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("--from", "since", type=click.DateTime(), required=True, help="First window, in UTC.")
@click.option("--reason", callback=_parse_reason, required=True, help="Why; devices keep it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def resend_command(config_file: Path | None, since: datetime, reason: str, *, as_json: bool) -> None:
    """Ask every device to send its reports of windows from a date on again: the same bytes, nothing new is drawn.

    For an aggregator that was restored from an old backup: what it still knows answers as before and counts once,
    what it forgot is counted now. The broker keeps the request for devices that are away; each obeys it once, within
    the policy's late horizon, and spreads what it sends over the policy's `spread`.

    \b
    Example:
      discreet aggregator resend --from 2026-11-14 --reason "restored from the backup of 14 November"
    """
    from discreet_aggregator.keys import load_keys
    from discreet_aggregator.metrics import iso
    from discreet_aggregator.policies import load_policies
    from discreet_aggregator.resend import signed_request
    from discreet_contract.policy.deliver import retain
    from discreet_contract.resend import Resend
    from discreet_contract.wire import resend_topic

    config = load_config(config_file)
    shelf = load_policies(config.policies, config.roots, config.fleet)
    start = round(since.replace(tzinfo=UTC).timestamp())
    asked = Resend(config.clock().now_ms(), start, reason)
    request = signed_request(shelf, load_keys(Path(config.keys_dir)), config.fleet, asked)
    retain(config.broker, resend_topic(config.fleet), request)
    if as_json:
        click.echo(json.dumps({"from": iso(start), "at_ms": asked.time_ms, "reason": reason}))
    else:
        click.echo(f"asked for windows from {iso(start)}; the broker keeps the request for devices that are away")
