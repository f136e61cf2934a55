"""`discreet policy audit` and `plan`: whether a policy keeps its promise, and what its figures will be worth."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from discreet_contract.cli.audit import open_policy
from discreet_contract.errors import ConfigError, ExitCode
from discreet_contract.policy.precision import devices_needed, expect, plan_facts, plan_text

if TYPE_CHECKING:
    from discreet_contract.audit.engine import Effort

FILE = click.Path(path_type=Path)
_NEEDED = ("numpy", "scipy", "opendp")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.command("audit")
@click.argument("file", type=FILE)
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Time for simulated devices (default: 15, deep 300).")
@click.option("--deep", is_flag=True, help="Look longer: more devices, more simulations, larger odds tables.")
@click.option("--no-device", is_flag=True, help="Audit mechanisms only, no device path; the same output every time.")
@_json
def audit_command(file: Path, seconds: float | None, deep: bool, no_device: bool, as_json: bool) -> None:
    """Hold what devices send under FILE against what FILE declares, metric by metric.

    Odds and charges are checked in exact arithmetic, estimators by simulation, and the whole path of a
    device, from raw events to sealed envelope, by sampling two devices that differ in all that happened
    to them. Needs the extra `audit` of discreet-contract, and discreet-agent for the device path.
    Exits 1 if any check fails.

    \b
    Example:
      discreet policy audit policies/examples/flights.yaml
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        message = f"an audit needs {', '.join(missing)}"
        raise ConfigError(message, hint="pip install 'discreet-contract[audit,noise]'")
    from discreet_contract.audit.device_path import installed_path
    from discreet_contract.audit.engine import audit_policy
    from discreet_contract.audit.findings import Outcome
    from discreet_contract.audit.render import NOT_ASKED, NOT_INSTALLED, as_facts, as_text

    policy = open_policy(file)
    path = None if no_device else installed_path()
    findings = list(audit_policy(policy, path, _effort(seconds, deep=deep)))
    note = None if path is not None else NOT_ASKED if no_device else NOT_INSTALLED
    click.echo(json.dumps(as_facts(findings, note)) if as_json else as_text(findings, note))
    if any(finding.outcome is Outcome.FAIL for finding in findings):
        click.get_current_context().exit(ExitCode.FAILED)


@click.command("plan")
@click.argument("file", type=FILE)
@click.option("--devices", type=click.IntRange(min=2), default=10_000, show_default=True, help="Devices in the fleet.")
@click.option("--width", type=click.FloatRange(min=0, min_open=True), help="Also: devices for an interval this wide.")
@_json
def plan_command(file: Path, devices: int, width: float | None, as_json: bool) -> None:
    """Say how precise each metric of FILE will be with so many devices, before anything is collected.

    Width: of the 95% interval, from its low to its high end, mechanism noise only, in the unit shown.
    Effect: the smallest difference of two equal arms that is found 8 times in 10 at 5% two-sided,
    (1.960 + 0.842) · √(2·(noise² + range²/4) / devices an arm), noise being one report's standard error
    and range²/4 the largest variance that true values can have.

    \b
    Example:
      discreet policy plan policies/examples/flights.yaml --devices 4000 --width 0.05
    """
    expected = expect(open_policy(file), devices)
    needed = None if width is None else devices_needed(open_policy(file), width)
    click.echo(json.dumps(plan_facts(expected, needed, width)) if as_json else plan_text(expected, needed, width))


def _effort(seconds: float | None, *, deep: bool) -> Effort:
    from discreet_contract.audit.engine import DEEP, Effort

    effort = DEEP if deep else Effort()
    return effort if seconds is None else replace(effort, seconds=seconds)
