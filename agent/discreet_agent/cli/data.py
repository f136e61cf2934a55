"""`discreet agent`: purge, export, forgotten, inspect: what is held on this device, and getting rid of it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

import click

from discreet_agent.cli.options import config_option, json_option, policy_in_force
from discreet_agent.config import load_settings
from discreet_contract.errors import ConfigError, ExitCode, RetryableError

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_agent.config import Settings
    from discreet_agent.steps.purge import Purge

OBEYED_WITHIN_SECONDS = 60


@click.command()
@click.option("--signal", help="Only this signal's events (default: every signal's).")
@click.option("--before", type=click.DateTime(), help="Only what happened before this moment, in UTC.")
@click.confirmation_option("--yes", prompt="Forget for good? What was sent cannot be recalled.")
@config_option
def purge(signal: str | None, before: datetime | None, config: Path | None) -> None:
    """Forget raw events and what open windows counted of them, now.

    Their keys are destroyed, so that copies of the database cannot be read either. The ledger of what was spent and
    the record of what was sent stay. Works while the agent runs, is stopped, or is off.

    \b
    Examples:
      discreet agent purge --yes
      discreet agent purge --signal door.opened --before 2026-11-01
    """
    from discreet_agent.steps.purge import Purge

    settings = load_settings(config)
    before_ms = None if before is None else round(before.replace(tzinfo=UTC).timestamp() * 1000)
    _refuse_unknown(settings, signal)
    receipts = _purged(settings)
    _carry_out(settings, Purge(signal, before_ms))
    gone = _purged(settings) - receipts
    click.echo(f"{gone} raw events forgotten; see `discreet agent forgotten`")


def _refuse_unknown(settings: Settings, signal: str | None) -> None:
    """A name that is neither declared nor on record is a slip of the pen: nothing would be forgotten."""
    from discreet_agent.export import open_for_reading

    if signal is None:
        return
    known = {row["signal"] for row in open_for_reading(settings.state_dir)["raw_buckets"].rows}
    known |= set(policy_in_force(settings).policy.signals)
    if signal not in known:
        hint = f"known: {', '.join(sorted(known))}"
        raise ConfigError(f"no signal {signal!r} is declared or on record", hint=hint)


def _purged(settings: Settings) -> int:
    """How many raw events were ever purged here."""
    from discreet_agent.export import open_for_reading

    rows = open_for_reading(settings.state_dir)["deletions"].rows_where("why = 'PURGED' AND layer = 'raw'")
    return sum(row["items"] for row in rows)


def _carry_out(settings: Settings, purge: Purge) -> None:
    """By a running agent where there is one, else here."""
    from discreet_agent.purge_request import is_waiting, leave_request
    from discreet_contract.state_folder import is_held

    if not is_held(settings.state_dir):
        _purge_here(settings, purge)
        return
    leave_request(settings.state_dir, purge)
    ends = time.monotonic() + OBEYED_WITHIN_SECONDS
    while is_waiting(settings.state_dir):
        if time.monotonic() > ends:
            hint = "it stays on record and is obeyed when the agent can; look at `discreet agent status`"
            raise RetryableError("the running agent has not obeyed yet", hint=hint)
        time.sleep(0.05)


def _purge_here(settings: Settings, purge: Purge) -> None:
    from discreet_agent.device import DATABASE, open_device
    from discreet_agent.store.aside import forget_copy
    from discreet_contract.clock import SystemClock

    policy = policy_in_force(settings)
    with open_device(settings.state_dir, policy, SystemClock(), settings.limits, settings.facts) as device:
        device.pipeline.purge(purge)
        forget_copy(settings.state_dir / DATABASE)


@click.command("export")
@click.option("--output", "-o", type=click.File("w"), default="-", help="A file (default: standard output).")
@config_option
def export_command(output: IO[str], config: Path | None) -> None:
    """Write everything held about this device, readable, one JSON object a line.

    Raw events, open windows, the ledger, what was sent, what was forgotten, counters, consent. Secrets are left out.

    \b
    Example:
      discreet agent export --output everything.jsonl
    """
    from discreet_agent.export import export

    for row in export(load_settings(config).state_dir):
        output.write(json.dumps(row) + "\n")


@click.command()
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The newest so many.")
@config_option
@json_option
def forgotten(limit: int, config: Path | None, *, as_json: bool) -> None:
    """Show the receipts of what was forgotten: what, how much, when, why, and the destroyed key's fingerprint.

    \b
    Example:
      discreet agent forgotten
    """
    from discreet_agent.export import open_for_reading
    from discreet_agent.status import describe_deletions
    from discreet_agent.store.deletions import Deletions

    rows = describe_deletions(Deletions(open_for_reading(load_settings(config).state_dir).conn).latest(limit))
    if as_json:
        click.echo(json.dumps({"forgotten": rows}))
    elif not rows:
        click.echo("nothing was forgotten yet")
    else:
        for row in rows:
            key = f", key {row['key']}" if row["key"] else ""
            click.echo(f"{row['at']}  {row['layer']} {row['of']} from {row['from']}: {row['items']} {row['why']}{key}")


@click.command()
@config_option
@json_option
def inspect(config: Path | None, *, as_json: bool) -> None:
    """Show the database's tables and rows, and have SQLite check that it is sound. Exits 1 where it is not.

    \b
    Example:
      discreet agent inspect
    """
    from discreet_agent.export import describe_tables

    tables, found = describe_tables(load_settings(config).state_dir)
    if as_json:
        click.echo(json.dumps({"tables": tables, "problems": found}))
    else:
        width = max(len(table["table"]) for table in tables)
        for table in tables:
            click.echo(f"{table['table']:<{width}}  {table['rows']}")
        click.echo("\n".join(found) if found else "sound")
    if found:
        click.get_current_context().exit(ExitCode.FAILED)
