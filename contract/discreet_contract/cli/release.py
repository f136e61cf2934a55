"""`discreet policy release` and `rollback`: through the gate, signed, appended to the transparency log."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from discreet_contract.errors import ConfigError, ReleaseRefusedError
from discreet_contract.policy.compile import canonical_json, load_policy, policy_hash
from discreet_contract.policy.gate import DEFAULT_THRESHOLD, Circumstances, release_problems, rolled_back
from discreet_contract.policy.log import PolicyLog
from discreet_contract.policy.release import MAX_SIGNED_BYTES, read_root_key, read_unverified, sign_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from nacl.signing import SigningKey

    from discreet_contract.policy.model import Policy

FILE = click.Path(path_type=Path)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that both commands take."""
    for option in (
        click.option(
            "--reviewer-above",
            type=click.FloatRange(min=0),
            default=DEFAULT_THRESHOLD,
            show_default=True,
            metavar="EPSILON",
            help="Rise of the 365-day loss above which a reviewer signs too.",
        ),
        click.option("--reviewer-key", type=FILE, help="Signing key file of a second person."),
        click.option("--key", type=FILE, required=True, help="Signing key file."),
        click.option("--log", "folder", type=FILE, required=True, help="Folder of the transparency log."),
    ):
        command = option(command)
    return command


@click.command("release")
@click.argument("file", type=FILE)
@_options
def release_command(file: Path, folder: Path, key: Path, reviewer_key: Path | None, reviewer_above: float) -> None:
    """Check FILE against the last release, sign it and append it to the log. Exits 4 if it is refused.

    \b
    Example:
      discreet policy release flights.yaml --log releases --key root.key
    """
    log = PolicyLog.open(folder)
    _release(log, load_policy(file), _keys(key, reviewer_key), reviewer_above)


@click.command("rollback")
@click.argument("version", type=click.IntRange(min=1))
@_options
@click.option("--reason", required=True, help="Why the later versions are taken back.")
@click.option("--author", default="", help="Who does it (default: the author of the last release).")
def rollback_command(  # noqa: PLR0913, PLR0917 - one parameter an option, and click passes them by name
    version: int,
    folder: Path,
    key: Path,
    reviewer_key: Path | None,
    reviewer_above: float,
    reason: str,
    author: str,
) -> None:
    """Release the content of VERSION again, as a new version.

    \b
    Example:
      discreet policy rollback 6 --log releases --key root.key --reason "crashes on old devices"
    """
    log = PolicyLog.open(folder)
    released = _released(log)
    content = next((policy for policy in released if policy.version == version), None)
    if content is None:
        known = ", ".join(str(policy.version) for policy in released) or "none"
        raise ConfigError(f"{folder}: no version {version}", hint=f"choose one of: {known}")
    last = released[-1]
    new = rolled_back(content, last, author=author or last.release.author, reason=reason)
    _release(log, new, _keys(key, reviewer_key), reviewer_above)


def _release(log: PolicyLog, new: Policy, keys: list[SigningKey], threshold: float) -> None:
    released = _released(log)
    roots = [key.verify_key.encode().hex() for key in keys]
    old = released[-1] if released else None
    circumstances = Circumstances(
        signatures=roots,
        threshold=threshold,
        earlier=released[:-1],
        retired=log.retired_at(new.version),
        roots=log.may_sign(new.version),
        today=datetime.now(UTC).date(),
    )
    problems = release_problems(old, new, circumstances)
    if problems:
        raise ReleaseRefusedError("\n".join(map(str, problems)), hint="mend every line above, then release again")
    signed = sign_policy(new, keys)
    if len(signed) > MAX_SIGNED_BYTES:
        message = f"SIZE: {len(signed)} bytes, and devices take {MAX_SIGNED_BYTES}"
        raise ReleaseRefusedError(message, hint="make the policy smaller")
    log.append(signed, keys, time.time_ns() // 1_000_000)
    click.echo(f"released version {new.version}, hash {policy_hash(canonical_json(new)).hex()}")


def _released(log: PolicyLog) -> list[Policy]:
    """Every policy in the log, oldest first."""
    return [read_unverified(entry) for entry in log.entries]


def _keys(key: Path, reviewer_key: Path | None) -> list[SigningKey]:
    return [read_root_key(path) for path in (key, reviewer_key) if path is not None]
