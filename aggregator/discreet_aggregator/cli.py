"""`discreet aggregator`: keys, the service, and what it has found out."""

from __future__ import annotations

import json
from pathlib import Path

import click

from discreet_aggregator.cli_keys import keys_group
from discreet_aggregator.cli_refusals import quarantine_command, refusals_command
from discreet_aggregator.cli_resend import resend_command
from discreet_aggregator.cli_watermark import watermark_command
from discreet_aggregator.config import find_config, load_config

_config = click.option(
    "--config",
    "-c",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration file (default: $XDG_CONFIG_HOME/discreet/aggregator.toml, else /etc/discreet/aggregator.toml).",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.group()
def aggregator() -> None:
    """Receive private reports of one fleet, exactly once, and read the metrics they give."""


aggregator.add_command(keys_group)
aggregator.add_command(quarantine_command)
aggregator.add_command(refusals_command)
aggregator.add_command(watermark_command)
aggregator.add_command(resend_command)


@aggregator.command("run")
@_config
def run_command(config_file: Path | None) -> None:
    """Serve the fleet until SIGTERM or Ctrl-C; logs go to standard error.

    \b
    Example:
      discreet aggregator run --config aggregator.toml
    """
    from discreet_aggregator.service import run

    path = find_config(config_file)
    run(load_config(path), path)


@aggregator.command("metrics")
@click.option("--metric", default="", help="Only this metric.")
@click.option(
    "--adjust",
    type=click.Choice(["none", "clip", "norm-sub"]),
    default="none",
    show_default=True,
    help="Show shares kept within [0, 1], or moved to the nearest ones that sum to one, beside the estimates. Biased.",
)
@_config
@_json
def metrics_command(metric: str, adjust: str, config_file: Path | None, *, as_json: bool) -> None:
    """Print every window's estimate with its 95% interval; works while the aggregator runs.

    Intervals are for the mean over the devices that reported and hold mechanism noise only.

    \b
    Example:
      discreet aggregator metrics --metric late_departure
    """
    from discreet_aggregator.adjust import Adjustment
    from discreet_aggregator.metrics import as_rows, read_metrics
    from discreet_aggregator.policies import load_policies
    from discreet_aggregator.table import metrics_table

    config = load_config(config_file)
    shelf = load_policies(config.policies, config.roots, config.fleet)
    readout = read_metrics(config.where, shelf, config.clock().now_ms(), metric)
    if as_json:
        rows = [row for result in readout.results for row in as_rows(result, Adjustment(adjust))]
        click.echo(json.dumps({"metrics": rows}))
    else:
        click.echo(metrics_table(readout.results, Adjustment(adjust)) if readout.results else "no reports yet")
    if readout.unexplained:
        names = ", ".join(sorted({cell.metric for cell in readout.unexplained}))
        click.echo(f"not shown, their policy is not loaded: {names}; add it to `policies`", err=True)


@aggregator.command("dev-broker")
@click.option("--port", type=click.IntRange(1, 65_535), default=1883, show_default=True, help="Port on 127.0.0.1.")
def dev_broker_command(port: int) -> None:
    """Run an embedded MQTT broker for trying things out: this machine only, memory only.

    \b
    Example:
      discreet aggregator dev-broker --port 18830
    """
    from discreet_aggregator.devbroker import run_dev_broker

    run_dev_broker(port)
