"""`discreet agent quarantine`: what was wrong with refused input, without a value of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from discreet_agent.cli.options import config_option, json_option
from discreet_agent.config import load_settings
from discreet_contract.errors import PermanentError

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.option("--clear", is_flag=True, help="Forget it all, once it was shown.")
@config_option
@json_option
def quarantine(config: Path | None, *, as_json: bool, clear: bool) -> None:
    """Ask the running agent which input it refused, by shape: rule, fields, types, lengths. Never a value.

    Equal shapes are counted. A shape is kept for seven days, or for its signal's retention if that is shorter.

    \b
    Examples:
      discreet agent quarantine
      discreet agent quarantine --clear
    """
    from discreet_agent.ask import ask_each

    questions = [b'{"query": "quarantine"}', *([b'{"query": "clear_quarantine"}'] if clear else [])]
    found, *cleared = ask_each(load_settings(config).socket, questions)
    for answer in (found, *cleared):
        if "error" in answer:
            raise PermanentError(f"{answer['error']}: {answer['detail']}", hint=answer.get("next", ""))
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo("\n".join(map(_written, found["quarantine"])) or "nothing is in quarantine")
    for answer in cleared:
        click.echo(f"cleared: {answer['cleared']}")


def _written(row: dict[str, Any]) -> str:
    size = row["size_bytes_at_most"]
    signal = " ".join(filter(None, (row["signal"], row["version"])))
    form = "; ".join(filter(None, (signal, row["fields"], "" if size is None else f"at most {size} bytes")))
    rule = f": {row['detail']}" if row["detail"] else ""
    sender = f", from {row['sender']}" if row["sender"] else ""
    lines = [f"{row['count']} × {row['reason']}{rule}", form, f"{row['first']} to {row['last']}{sender}"]
    return "\n    ".join(filter(None, lines))
