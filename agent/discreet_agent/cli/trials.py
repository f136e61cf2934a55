"""`discreet agent`: experiments, flags pin, flags unpin: what holds on this device for a while, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from discreet_agent.cli.options import config_option, json_option
from discreet_agent.cli.personal import ask_as_owner, flags
from discreet_agent.cli.table import show_table

if TYPE_CHECKING:
    from pathlib import Path

# What a standing means, for whoever reads it.
MEANINGS = {
    "ENROLLED": "takes part",
    "NOT_BEGUN": "takes part from its first day on",
    "ENDED": "the experiment is over",
    "KILLED": "stopped by the policy",
    "HELD_OUT": "not: held out of all experiments",
    "LAYER_HELD_OUT": "not: held out of the layer",
    "NOT_DRAWN": "not drawn",
    "NOT_MEANT": "not meant: platform, release or cohort",
    "OPTED_OUT": "left: the owner said no meanwhile",
    "REMOVED": "left: it was taken out of the policy meanwhile",
    "CLOCK_UNKNOWN": "not yet: the clock is not known to be right",
    "OFF": "not: the agent is off",
}


@click.command()
@config_option
@json_option
def experiments(config: Path | None, *, as_json: bool) -> None:
    """Show every experiment: this device's arm and since when, or why it has none, and what it was exposed to.

    \b
    Example:
      discreet agent experiments
    """
    found = ask_as_owner(config, {"query": "experiments"})
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [_row(told) for told in found["experiments"]]
    show_table(rows, ("experiment", "flag", "arm", "since", "standing", "exposures"), empty="the policy has none")


@flags.command("pin")
@click.argument("flag")
@click.argument("variant")
@click.option("--reason", default="", help="Why; kept in the trail.")
@config_option
def pin(flag: str, variant: str, reason: str, config: Path | None) -> None:
    """Hold a flag at a variant on this device, whatever its targeting says, until it is let go.

    \b
    Example:
      discreet agent flags pin autoplay off --reason "it startles the cat"
    """
    ask_as_owner(config, {"query": "pin", "flag": flag, "variant": variant, "reason": reason})
    click.echo(f"{flag} gives {variant} on this device until `discreet agent flags unpin {flag}`")


@flags.command("unpin")
@click.argument("flag")
@config_option
def unpin(flag: str, config: Path | None) -> None:
    """Let a flag go, whoever held it: the owner, or a guard that reverted it.

    \b
    Example:
      discreet agent flags unpin autoplay
    """
    ask_as_owner(config, {"query": "unpin", "flag": flag})
    click.echo(f"{flag} follows its targeting again")


@flags.command("moves")
@config_option
@json_option
def moves(config: Path | None, *, as_json: bool) -> None:
    """Show what happened: segments entered and left, flags pinned, let go and reverted, newest first.

    \b
    Example:
      discreet agent flags moves
    """
    found = ask_as_owner(config, {"query": "moves"})
    if as_json:
        click.echo(json.dumps(found))
        return
    rows = [
        {"at": _moment(told["at_ms"]), "what": told["what"].lower(), "of": told["subject"], "why": told["reason"]}
        for told in found["moves"]
    ]
    show_table(rows, ("at", "what", "of", "why"), empty="nothing yet")


def _row(told: dict[str, Any]) -> dict[str, str]:
    return {
        "experiment": told["name"],
        "flag": told["flag"],
        "arm": told.get("arm", ""),
        "since": _moment(told["since_ms"]) if told.get("since_ms") else "",
        "standing": MEANINGS[told["standing"]],
        "exposures": ", ".join(f"{one['arm']} × {one['reports']}" for one in told["exposures"]),
    }


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
