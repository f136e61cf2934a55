"""`discreet policy`: write, check, sign and verify policies; the auditor's and the release commands are beside."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from discreet_contract.cli.audit import diff_command, explain_command
from discreet_contract.cli.deliver import keys_group, publish_command, witness_command
from discreet_contract.cli.log import log_group
from discreet_contract.cli.release import release_command, rollback_command
from discreet_contract.cli.scrutiny import audit_command, plan_command
from discreet_contract.errors import ConfigError, PolicyError, Problem
from discreet_contract.files import read_or_explain, write_or_explain
from discreet_contract.policy.compile import build_policy, canonical_json, load_policy, policy_hash
from discreet_contract.policy.expiring import Ending, find_endings
from discreet_contract.policy.lint import lint_policy
from discreet_contract.policy.read import read_policy_text
from discreet_contract.policy.release import read_root_key, sign_policy, verify_policy
from discreet_contract.policy.schema import schema_text
from discreet_contract.policy.starter import starter_policy

FILE = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")

_today = click.option(
    "--today",
    metavar="YYYY-MM-DD",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Judge dates as of this day (default: today, UTC).",
)


@click.group()
def policy() -> None:
    """Write, check, explain, compare, audit, sign, release, publish and verify policies."""


for _command in (
    explain_command,
    diff_command,
    audit_command,
    plan_command,
    release_command,
    rollback_command,
    publish_command,
    witness_command,
    keys_group,
    log_group,
):
    policy.add_command(_command)


@policy.command()
@click.argument("file", type=FILE)
@_today
@_json
def lint(file: Path, today: datetime | None, *, as_json: bool) -> None:
    """Check FILE, or a folder of YAML files: shape, references, and every lint rule.

    All problems are printed at once as file:line:column: RULE message. Exits 4 if there is any.

    \b
    Example:
      discreet policy lint policies/examples/flights.yaml
    """
    try:
        problems = _problems(file, _day(today))
    except PolicyError as exc:
        problems = exc.problems
    if as_json:
        click.echo(json.dumps({"problems": [_as_dict(problem) for problem in problems]}))
    elif problems:
        click.echo("\n".join(map(str, problems)))
    else:
        click.echo(f"{file}: clean")
    if problems:
        click.get_current_context().exit(PolicyError.exit_code)


@policy.command()
@click.argument("file", type=FILE)
@click.option("--key", "keys", type=FILE, multiple=True, required=True, help="Signing key file; may be repeated.")
@click.option("--output", "-o", type=FILE, required=True, help="Where the signed policy goes.")
def sign(file: Path, keys: tuple[Path, ...], output: Path) -> None:
    """Compile FILE and sign it.

    \b
    Example:
      discreet policy sign flights.yaml --key root.key --output flights.signed.json
    """
    compiled = load_policy(file)
    if not output.parent.is_dir():
        raise ConfigError(f"{output.parent} is not a folder", hint="create it, or choose another --output")
    signed = sign_policy(compiled, [read_root_key(key) for key in keys])
    write_or_explain(output, signed, what="the signed policy", hint="choose another --output", mode=0o644)
    click.echo(f"{output}: version {compiled.version}, hash {policy_hash(canonical_json(compiled)).hex()}")


@policy.command()
@click.argument("file", type=FILE)
@click.option("--root", "roots", multiple=True, required=True, help="Pinned root public key in hex; may be repeated.")
@_json
def verify(file: Path, roots: tuple[str, ...], *, as_json: bool) -> None:
    """Check that a signed policy FILE was signed by one of the given roots and not altered since.

    \b
    Example:
      discreet policy verify flights.signed.json --root 5f0c…
    """
    signed = read_or_explain(file, what="a signed policy", hint="sign one with `discreet policy sign`")
    verified = verify_policy(signed, roots)
    facts = {
        "fleet": verified.policy.fleet,
        "version": verified.policy.version,
        "hash": verified.digest.hex(),
        "signed_by": verified.signed_by,
    }
    if as_json:
        click.echo(json.dumps(facts))
        return
    click.echo(f"{file}: good signature by {verified.signed_by}")
    click.echo(f"fleet {facts['fleet']}, version {facts['version']}, hash {facts['hash']}")


@policy.command("new")
@click.argument("file", type=FILE, required=False)
def new_policy(file: Path | None) -> None:
    """Write a commented policy to start from into FILE, or to standard output.

    \b
    Example:
      discreet policy new my-fleet.yaml
    """
    text = starter_policy(datetime.now(UTC).date())
    if file is None:
        click.echo(text, nl=False)
        return
    if file.exists():
        raise ConfigError(f"{file} exists", hint="choose another name: a policy is never overwritten")
    if not file.parent.is_dir():
        raise ConfigError(f"{file.parent} is not a folder", hint="create it, or choose another place")
    write_or_explain(file, text.encode(), what="the policy", hint="choose another place", mode=0o644)
    click.echo(f"{file}: written; check it with `discreet policy lint {file}`")


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors.

    \b
    Example:
      discreet policy schema > policy.schema.json
    """
    click.echo(schema_text(), nl=False)


@policy.command()
@click.argument("file", type=FILE)
@click.option("--within", metavar="DAYS", default="90d", show_default=True, help="How far to look ahead, like 90d.")
@_today
@_json
def expiring(file: Path, within: str, today: datetime | None, *, as_json: bool) -> None:
    """List what in FILE ends soon or has ended: approvals of signals, aggregator keys, experiments.

    \b
    Example:
      discreet policy expiring policies/examples/flights.yaml --within 90d
    """
    if not re.fullmatch(r"[1-9][0-9]{0,4}d", within):
        raise click.BadParameter("a number of days, like 90d", param_hint="--within")
    day = _day(today)
    endings = find_endings(load_policy(file), day + timedelta(days=int(within[:-1])))
    if as_json:
        click.echo(json.dumps({"expiring": [_ending_facts(ending, day) for ending in endings]}))
        return
    for ending in endings:
        days = (ending.day - day).days
        when = f"in {days} days" if days > 0 else "over"
        click.echo(f"{ending.day}  {when:>12}  {ending.what}  {ending.owner}".rstrip())
    if not endings:
        click.echo(f"nothing ends within {within}")


def _problems(file: Path, today: date) -> list[Problem]:
    text = read_policy_text(file)
    findings = lint_policy(build_policy(text), today)
    return sorted(text.problem(f.path, f.rule, f.message, on_key=f.on_key) for f in findings)


def _as_dict(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in ("file", "line", "column", "rule", "message")}


def _day(today: datetime | None) -> date:
    return today.date() if today else datetime.now(UTC).date()


def _ending_facts(ending: Ending, today: date) -> dict[str, Any]:
    return {
        "what": ending.what,
        "day": ending.day.isoformat(),
        "days_left": (ending.day - today).days,
        "owner": ending.owner,
    }
