"""`discreet aggregator keys`: make a key, give it its days in a policy, and destroy it when nothing needs it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from discreet_aggregator.config import load_config

if TYPE_CHECKING:
    from discreet_aggregator.config import AggregatorConfig
    from discreet_aggregator.rotation import KeyUse

_config = click.option(
    "--config", "-c", "config_file", type=click.Path(path_type=Path), help="Configuration file of the aggregator."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
_KEY_DAYS = 180


@click.group("keys")
def keys_group() -> None:
    """Private keys that open the fleet's envelopes."""


@keys_group.command("new")
@click.argument("key_id")
@_config
@_json
def new_key_command(key_id: str, config_file: Path | None, *, as_json: bool) -> None:
    """Create the private key KEY_ID in `keys_dir` and print its public half for the policy.

    \b
    Example:
      discreet aggregator keys new 2026q4
    """
    from discreet_aggregator.keys import new_key

    public = new_key(Path(load_config(config_file).keys_dir), key_id)
    if as_json:
        click.echo(json.dumps({"id": key_id, "public_key": public}))
        return
    today = datetime.now(UTC).date()
    until = today + timedelta(days=_KEY_DAYS)
    click.echo(public)
    click.echo(f"`discreet aggregator keys activate {key_id} POLICY.yaml` puts it into a policy. By hand, under keys:")
    click.echo(f'    - {{id: "{key_id}", public_key: "{public}", from: {today}, until: {until}}}')


@keys_group.command("list")
@_config
@_json
def list_command(config_file: Path | None, *, as_json: bool) -> None:
    """Print every key that is here or that a policy names: its days, and when it may be retired.

    \b
    Example:
      discreet aggregator keys list
    """
    from discreet_aggregator.table import keys_table

    uses = _uses(load_config(config_file))
    if as_json:
        rows = [asdict(use) | {"retire_from": use.retire_from if use.versions else None} for use in uses]
        click.echo(json.dumps({"keys": rows}))
        return
    click.echo(keys_table(uses))


@keys_group.command("activate")
@click.argument("key_id")
@click.argument("policy_file", type=click.Path(path_type=Path))
@click.option(
    "--from", "begins", type=click.DateTime(["%Y-%m-%d"]), help="First day on which devices seal to it. Default: today."
)
@click.option("--days", type=click.IntRange(1, 3650), default=_KEY_DAYS, show_default=True, help="For how many days.")
@_config
def activate_command(
    key_id: str, policy_file: Path, begins: datetime | None, days: int, config_file: Path | None
) -> None:
    """Add the key KEY_ID to `aggregator.keys` of the policy source POLICY_FILE, comments and all else kept.

    Its private half must be here. Devices take the key whose days began last. Nothing changes for them until the
    policy is released and published.

    \b
    Example:
      discreet aggregator keys activate 2027q2 policy.yaml --from 2027-03-15
    """
    from discreet_aggregator.keys import load_key
    from discreet_aggregator.rotation import overlap, with_key
    from discreet_contract.files import read_or_explain, write_or_explain
    from discreet_contract.policy.compile import build_policy
    from discreet_contract.policy.read import parse_policy_text

    public = load_key(Path(load_config(config_file).keys_dir), key_id).public_key.encode().hex()
    source = policy_file / "policy.yaml" if policy_file.is_dir() else policy_file
    content = read_or_explain(source, what="a policy", hint="name the YAML file that holds `aggregator.keys`")
    first = (begins or datetime.now(UTC)).date()
    line = (key_id, public, first.isoformat(), (first + timedelta(days=days)).isoformat())
    changed = with_key(content, str(source), line)
    step = overlap(build_policy(parse_policy_text(content, str(source))).aggregator.keys, line[2])
    mode = source.stat().st_mode & 0o777
    write_or_explain(source, changed, what="the policy", hint="the folder must be writable", mode=mode)
    click.echo(f"{source}: key {key_id} from {line[2]} until {line[3]}")
    click.echo(step)
    click.echo("Next: raise `version`, release, let the aggregator have the log, then `discreet policy publish`.")


@keys_group.command("retire")
@click.argument("key_id")
@click.option("--force", is_flag=True, help="Destroy it although reports sealed to it may still arrive.")
@_config
def retire_command(key_id: str, config_file: Path | None, *, force: bool) -> None:
    """Destroy the private key KEY_ID, once nothing that is sealed to it could count any more.

    A running aggregator lets it go within seconds. There is no way back; copies elsewhere are yours to find.

    \b
    Example:
      discreet aggregator keys retire 2026q4
    """
    from discreet_aggregator.keys import destroy_key
    from discreet_aggregator.rotation import check_retirement

    config = load_config(config_file)
    if not force:
        check_retirement(key_id, _uses(config), _admission_ms(config))
    destroy_key(Path(config.keys_dir), key_id)
    click.echo(f"{key_id}: destroyed; what was sealed to it stays closed for ever, also to you")


def _uses(config: AggregatorConfig) -> list[KeyUse]:
    from discreet_aggregator.keys import load_keys
    from discreet_aggregator.policies import load_policies
    from discreet_aggregator.rotation import key_uses

    shelf = load_policies(config.policies, config.roots, config.fleet)
    return key_uses(shelf, load_keys(Path(config.keys_dir)))


def _admission_ms(config: AggregatorConfig) -> int:
    """What time it is for admission, and no later than by the clock: a clock that leapt ahead destroys nothing."""
    from discreet_aggregator.store.reader import Reader
    from discreet_contract.errors import ConfigError

    now_ms = config.clock().now_ms()
    try:
        with Reader(config.where) as reader:
            return min(now_ms, reader.watermark().now_ms)
    except ConfigError:  # no database yet
        return now_ms
