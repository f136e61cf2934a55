"""`discreet agent experiments`: what this device takes part in, for its owner."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from discreet_agent.cli.options import config_option, json_option
from discreet_agent.cli.table import show_table
from discreet_agent.config import load_settings
from discreet_contract.errors import PermanentError

if TYPE_CHECKING:
    from pathlib import Path

# By `Standing`: what each says in words.
_WORDS = {
    "ENROLLED": "takes part",
    "NOT_BEGUN": "not begun",
    "ENDED": "ended",
    "KILLED": "stopped by the policy",
    "HELD_OUT": "not drawn: held out of all experiments",
    "LAYER_HELD_OUT": "not drawn: held out of its layer",
    "NOT_DRAWN": "not drawn",
    "NOT_MEANT": "not meant for this platform, release or cohort",
    "OPTED_OUT": "left: the owner said no",
    "REMOVED": "left: the policy took it out meanwhile",
    "CLOCK_UNKNOWN": "waits: the clock is known to be wrong",
    "OFF": "off",
}


@click.command()
@config_option
@json_option
def experiments(config: Path | None, *, as_json: bool) -> None:
    """Show every experiment: in which arm this device is since when, or why it is in none.

    \b
    Example:
      discreet agent experiments
    """
    from discreet_agent.ask import ask

    answer = ask(load_settings(config).socket, b'{"query": "experiments"}')
    if "error" in answer:
        raise PermanentError(f"{answer['error']}: {answer['detail']}", hint=answer.get("next", ""))
    if as_json:
        click.echo(json.dumps(answer))
        return
    rows = [_row(told) for told in answer["experiments"]]
    show_table(
        rows, ("experiment", "standing", "arm", "since", "days", "exposed"), empty="the policy has no experiments"
    )


def _row(told: dict[str, Any]) -> dict[str, str]:
    exposures = told["exposures"]
    return {
        "experiment": told["name"],
        "standing": _WORDS[told["standing"]],
        "arm": told.get("arm", ""),
        "since": _moment(told["since_ms"]) if "since_ms" in told else "",
        "days": f"{told['start']} to {told['end']}",
        "exposed": _moment(exposures[0]["first_ms"]) if exposures else "never",
    }


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
