"""`discreet`: one command, its groups found through the entry points `discreet.commands`."""

from __future__ import annotations

import sqlite3
import sys
from importlib.metadata import entry_points
from typing import Any

import click

from discreet_contract import __version__
from discreet_contract.errors import DiscreetError, ExitCode

_EXIT_CODES = "\n".join(f"  {code.value}  {code.name.lower()}" for code in ExitCode)


class _Groups(click.Group):
    """Loads a group only when it is called for: a device has no aggregator, an auditor neither."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(e.name for e in entry_points(group="discreet.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entry in entry_points(group="discreet.commands"):
            if entry.name == cmd_name:
                command: click.Command = entry.load()
                return command
        return super().get_command(ctx, cmd_name)


@click.group(
    cls=_Groups,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit codes:\n{_EXIT_CODES}",
)
@click.version_option(__version__, prog_name="discreet")
def discreet() -> None:
    """Telemetry that keeps a secret: policies, device agent, aggregator."""


def main(args: list[str] | None = None) -> Any:
    """Entry point: every expected failure ends in one line, its next step, and a documented exit code."""
    try:
        code = discreet.main(args=args, standalone_mode=False)  # click returns what a command gave to ctx.exit()
        if isinstance(code, int) and code:
            sys.exit(code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(ExitCode.USAGE)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(ExitCode.OK)
    except (OSError, sqlite3.Error) as exc:
        _explain(str(exc), "check that the file is there, whole, and yours to use")
        sys.exit(ExitCode.CONFIG if isinstance(exc, OSError) else ExitCode.FAILED)
    except DiscreetError as exc:
        _explain(str(exc), exc.hint)
        sys.exit(exc.exit_code)


def _explain(message: str, hint: str) -> None:
    """What went wrong and the next step, on standard error; a list of problems stands as it is."""
    click.echo(message if "\n" in message else f"discreet: {message}", err=True)
    if hint:
        click.echo(f"  next: {hint}", err=True)
