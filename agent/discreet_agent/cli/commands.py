"""`discreet agent`: on, off, run, status, ledger, policies; the others stand in the modules beside it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from discreet_agent.cli import data, personal, quarantine, sent, trials
from discreet_agent.cli.emit import emit
from discreet_agent.cli.options import config_option, json_option, policy_in_force
from discreet_agent.cli.table import show_table
from discreet_agent.config import load_settings
from discreet_contract.errors import ExitCode, PermanentError, StoreError
from discreet_contract.state_folder import make_state_folder

if TYPE_CHECKING:
    from discreet_agent.config import Settings


_KEPT = {True: "kept", False: "broken", None: "open"}


@click.group()
def agent() -> None:
    """The daemon on this device: run it, feed it, ask it, switch it off."""


@agent.command()
@config_option
def run(config: Path | None) -> None:
    """Run the agent in the foreground until SIGTERM or Ctrl-C.

    \b
    Example:
      discreet agent run --config agent.toml
    """
    from discreet_agent.daemon import run_daemon
    from discreet_contract.log import configure_logging

    settings = load_settings(config)
    configure_logging(json=settings.log_json)
    run_daemon(settings)


@agent.command()
@config_option
def on(config: Path | None) -> None:
    """Consent to the policy in force: record signals and send private summaries.

    \b
    Example:
      discreet agent on
    """
    from discreet_agent.consent import Consent, Word, privacy_class, write_word

    settings = load_settings(config)
    make_state_folder(settings.state_dir)
    policy = policy_in_force(settings).policy
    try:
        word = Consent(settings.state_dir).word()
    except StoreError:  # broken: what is said now replaces it
        word = None
    given_to = privacy_class(policy)
    refused_ms = 0 if word is None else word.at_ms if word.state == "off" else word.refused_ms
    if word is None or word.state == "off" or word.given_to != given_to:
        write_word(settings.state_dir, Word("on", time.time_ns() // 1_000_000, given_to, refused_ms))
    click.echo(
        f"on: fleet {policy.fleet}, policy version {policy.version}, ε at most {policy.budget.lifetime:g} in all"
    )


@agent.command()
@config_option
def off(config: Path | None) -> None:
    """Withdraw consent: nothing is written, nothing is sent, until `on`. A running agent obeys within a second.

    \b
    Example:
      discreet agent off
    """
    from discreet_agent.consent import Word, write_word

    settings = load_settings(config)
    make_state_folder(settings.state_dir)
    write_word(settings.state_dir, Word("off", time.time_ns() // 1_000_000))
    click.echo("off: nothing is recorded or sent. What was sent cannot be recalled (see `discreet agent sent`).")


@agent.command("status")
@config_option
@json_option
def status_command(config: Path | None, *, as_json: bool) -> None:
    """Ask the running agent how it is.

    \b
    Example:
      discreet agent status --json
    """
    from discreet_agent.ask import ask

    answer = ask(load_settings(config).socket, b'{"query": "status"}')
    click.echo(json.dumps(answer) if as_json else "\n".join(_status_lines(answer)))


@agent.command()
@config_option
@json_option
@click.option("--verify", is_flag=True, help="Work everything out again from the ledger and its policies.")
@click.option(
    "--copy", type=click.Path(path_type=Path), help="A copy of agent.db; ledger.head is looked for beside it."
)
@click.option(
    "--policy",
    "policy_files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="With --verify: policies that rows name, beside the one kept.",
)
def ledger(
    config: Path | None, copy: Path | None, policy_files: tuple[Path, ...], *, as_json: bool, verify: bool
) -> None:
    """Show every charge against this device's privacy budget, and check the hash chain.

    With --verify also: the head outside the database, each charge against what its policy's mechanism says, and
    every cap over every span. What is wrong stands one a line, and the exit code is 1.

    \b
    Examples:
      discreet agent ledger
      discreet agent ledger --verify --copy copy/agent.db --policy releases/entries/000001.json
    """
    from discreet_agent.device import DATABASE
    from discreet_agent.ledger_check import open_read_only
    from discreet_agent.status import describe_ledger
    from discreet_agent.store.ledger import Ledger

    if policy_files and not verify:
        raise click.UsageError("--policy goes with --verify")
    database = copy or load_settings(config).state_dir / DATABASE
    if verify:
        _verify_ledger(database, policy_files, is_copy=copy is not None, as_json=as_json)
        return
    facts = describe_ledger(Ledger(open_read_only(database)))
    if as_json:
        click.echo(json.dumps(facts))
        return
    show_table(
        facts["entries"], ("sequence", "window_start", "metric", "epsilon", "mechanism"), empty="nothing was charged"
    )
    click.echo(f"{facts['rows']} charges, ε {sum(e['epsilon'] for e in facts['entries']):g} in all; the chain holds")


def _verify_ledger(database: Path, policy_files: tuple[Path, ...], *, is_copy: bool, as_json: bool) -> None:
    from discreet_agent.ledger_check import check_ledger
    from discreet_agent.status import describe_check

    facts = describe_check(check_ledger(database, policy_files, is_copy=is_copy))
    if as_json:
        click.echo(json.dumps(facts))
    else:
        for finding in facts["findings"]:
            click.echo(finding["says"])
        spent = f"{facts['rows']} charges, ε {facts['epsilon']:g} in all, against {facts['policies']} policies"
        head = "no head: a cut end would not show" if facts["head"] is None else f"the head names row {facts['head']}"
        click.echo(f"{spent}; {head}; {len(facts['findings']) or 'no'} findings")
    if facts["findings"]:
        click.get_current_context().exit(ExitCode.FAILED)


@agent.command()
@config_option
@json_option
def policies(config: Path | None, *, as_json: bool) -> None:
    """Show which policy was in force since when, why it changed, and who signed it.

    \b
    Example:
      discreet agent policies
    """
    from discreet_agent.status import describe_trail
    from discreet_agent.store.trail import Trail

    rows = describe_trail(Trail(_read_only(load_settings(config))))
    if as_json:
        click.echo(json.dumps({"policies": rows}))
        return
    shown = [row | {"signed_by": f"{row['signed_by'][:8]}…"} for row in rows]
    show_table(
        shown, ("since", "version", "source", "signed_by", "author", "reason"), empty="no policy was in force yet"
    )


@agent.command(hidden=True)
@click.argument("plan", type=click.Path(path_type=Path))
def replay(plan: Path) -> None:
    """Replay recorded events through many devices (demonstration, simulation, benchmarks)."""
    from discreet_agent.fleet import read_plan, replay_fleet

    click.echo(json.dumps(replay_fleet(read_plan(plan))))


def _read_only(settings: Settings) -> Any:
    """The device's database for reading, beside a running agent or without one."""
    from discreet_agent.export import open_for_reading

    return open_for_reading(settings.state_dir).conn


def _status_lines(answer: dict[str, Any]) -> list[str]:
    if "error" in answer:
        raise PermanentError(f"{answer['error']}: {answer['detail']}", hint=answer.get("next", ""))
    said = [
        f"{answer['state']}" + (f": {answer['why_off']}" if answer["why_off"] else ""),
        f"store     {answer['store']}",
    ]
    if "policy" not in answer:  # the agent waits for its folder
        return said
    policy, head, refused = answer["policy"], answer["policy"]["log"], answer["policy"]["refused"]
    said += [
        f"policy    fleet {policy['fleet']}, version {policy['version']}, hash {policy['hash'][:16]}…",
        f"log       {head['size']} releases, root {head['root']}, signed {head['signed_at']}",
        f"broker    {answer['broker']}",
        f"http      {answer['http']}",
        f"releases  {answer['releases']}",
    ]
    if refused:
        said.append(f"refused   {refused['at']}, from the {refused['source']}: {refused['detail']}")
    return said + (_stored_lines(answer) if "raw" in answer else [])


def _stored_lines(answer: dict[str, Any]) -> list[str]:
    """What the store says, where it can be read."""
    lines = [
        f"raw       {answer['raw']['events']} events in {answer['raw']['blocks']} blocks",
        f"database  {answer['database_bytes']} bytes",
        f"retention {answer['forgetting']}",
        f"waiting   {answer['reports_waiting']} reports without receipt, {answer['outbox']['bytes']} bytes",
        f"outbox    {answer['outbox']['says']}",
        f"budget    ε {answer['epsilon_spent']:g} spent, {answer['epsilon_reserved']:g} reserved for open windows",
    ]
    if answer["last_refusal"]:
        lines.append(f"refused   {answer['last_refusal']}")
    lines += [f"unusual   {anomaly['at']}  {anomaly['explanation']}" for anomaly in answer["anomalies"]]
    if answer["evaluations"]:
        times = ", ".join(f"{flag} {count}" for flag, count in sorted(answer["evaluations"].items()))
        lines.append(f"flags     evaluated since the start: {times}")
    for name, contract in answer["contracts"].items():
        lines.append(f"contract  {name}: {_KEPT[contract['kept']]}: {contract['why']}")
    for name, reasons in answer["counters"].items():
        counted = ", ".join(f"{reason} {count}" if reason else f"{count}" for reason, count in reasons.items())
        lines.append(f"{name}: {counted}")
    return lines


_IN_OTHER_MODULES: tuple[click.Command, ...] = (
    emit,
    sent.preview,
    sent.sent,
    data.purge,
    data.export_command,
    data.forgotten,
    data.inspect,
    quarantine.quarantine,
    personal.features,
    personal.segments,
    personal.flags,
    personal.explain,
    trials.experiments,
)
for _command in _IN_OTHER_MODULES:
    agent.add_command(_command)
