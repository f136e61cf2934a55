"""`discreet agent emit`: events from a shell, told in options, in one argument, or as lines from standard input."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from discreet_agent.cli.options import config_option, json_option
from discreet_agent.config import load_settings
from discreet_contract.errors import ExitCode
from discreet_contract.files import read_or_explain

if TYPE_CHECKING:
    from collections.abc import Iterable

_LATER = "STORE_UNAVAILABLE"  # the one refusal that passes


@dataclass(slots=True)
class _Told:
    """What became of everything so far."""

    accepted: int = 0
    refused: list[dict[str, Any]] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        if not self.refused:
            return ExitCode.OK
        may_pass = all(item["reason"] == _LATER for item in self.refused)
        return ExitCode.RETRYABLE if may_pass else ExitCode.FAILED


@click.command()
@click.argument("event", required=False)
@click.option("--signal", help="Say one event in options: its signal.")
@click.option("--version", help="Its schema version.")
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", help="One of its fields; may be repeated.")
@click.option("--time", "at", help="When: RFC 3339 or milliseconds since 1970 (default: now).")
@click.option("--id", "identity", help="Its id, so that it counts once however often it is sent.")
@click.option("--retracts", help="Id of the event that this one takes back.")
@click.option("--token-file", type=click.Path(path_type=Path), help="File with this sender's token.")
@click.option("--no-wait", is_flag=True, help="Do not wait for answers: refusals are only counted.")
@config_option
@json_option
def emit(event: str | None, **options: Any) -> None:
    """Send one EVENT (JSON), one said in options, or JSON lines from standard input, to the running agent.

    A field's VALUE is a number or true or false where it reads like one, else text; text that reads like a
    number goes in quotes: code='"007"'. Exits 0 if every event is on disk, 1 if one was refused, 6 if only the
    disk was full, 5 if no agent answers. With --no-wait: 0 if all was handed over.

    \b
    Examples:
      discreet agent emit --signal door.opened --version 1-0-0 --field seconds=3 --field side=left
      discreet agent emit '{"signal": "door.opened", "version": "1-0-0",
                            "time": "2026-11-23T08:00:00Z", "fields": {}}'
      tail -f doors.jsonl | discreet agent emit --no-wait
    """
    from discreet_agent.ask import tell

    lines = _lines(event, options)
    path = load_settings(options["config"]).socket
    greeting = _greeting(options["token_file"])
    if options["no_wait"]:
        tell(path, chain([json.dumps(greeting | {"answers": False}).encode()], lines))
        return
    told = _wait_for_answers(path, greeting, lines)
    if options["as_json"]:
        click.echo(json.dumps({"ok": told.accepted, "refused": told.refused}))
    else:
        _say(told)
    click.get_current_context().exit(told.exit_code)


def _say(told: _Told) -> None:
    click.echo(f"ok {told.accepted}, refused {len(told.refused)}")
    for item in told.refused:
        where = f"line {item['line']}, event {item['index']}" if item["line"] else "token"
        click.echo(f"  {where}: {item['reason']}: {item['detail']}", err=True)


def _wait_for_answers(path: Path, greeting: dict[str, Any], lines: Iterable[bytes]) -> _Told:
    from discreet_agent.ask import ask_each

    told = _Told()
    greetings = [json.dumps(greeting).encode()] if greeting else []
    for number, answer in enumerate(ask_each(path, chain(greetings, lines)), 1 - len(greetings)):
        if "ok" not in answer:
            raise click.UsageError("a line asks instead of telling; use `discreet agent status`, `sent` or `ledger`")
        told.accepted += answer["ok"]
        told.refused += [{"line": number} | item for item in answer.get("refused", [])]
    return told


def _greeting(token_file: Path | None) -> dict[str, Any]:
    if token_file is None:
        return {}
    token = read_or_explain(token_file, what="the token", hint="name a file that holds the token and nothing else")
    return {"token": token.decode("utf-8", errors="replace").strip()}


def _lines(event: str | None, options: dict[str, Any]) -> Iterable[bytes]:
    said = {name: options[name] for name in ("signal", "version", "at", "identity", "retracts") if options[name]}
    if not said and not options["fields"]:
        return _given(event)
    if event is not None:
        raise click.UsageError("an event is said in options or as EVENT, not both")
    if "signal" not in said or "version" not in said:
        raise click.UsageError("an event said in options has at least --signal and --version")
    line = {
        "signal": said["signal"],
        "version": said["version"],
        "time": _time(said.get("at")),
        "fields": dict(_field(text) for text in options["fields"]),
        "id": said.get("identity"),
        "retracts": said.get("retracts"),
    }
    return [_encoded(json.dumps(line, ensure_ascii=False))]


def _given(event: str | None) -> Iterable[bytes]:
    if event is None:
        return (line for line in sys.stdin.buffer if line.strip())
    if not event.strip():
        raise click.UsageError("EVENT is empty")
    return [_encoded(event.replace("\n", " "))]


def _encoded(said: str) -> bytes:
    try:
        return said.encode()
    except UnicodeEncodeError:  # a shell hands over whatever bytes there were
        raise click.UsageError("an event is said in UTF-8") from None


def _time(said: str | None) -> int | str:
    if said is None:
        return time.time_ns() // 1_000_000
    return int(said) if said.isdecimal() else said


def _field(text: str) -> tuple[str, float | str | bool]:
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise click.UsageError("a field is said as NAME=VALUE")
    try:
        read = json.loads(value, parse_constant=str)
    except ValueError:
        return name, value
    is_number = isinstance(read, int) or (isinstance(read, float) and math.isfinite(read))  # not 1e999
    return name, read if is_number or isinstance(read, str) else value
