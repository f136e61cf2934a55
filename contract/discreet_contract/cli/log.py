"""`discreet policy log`: list, verify, prove, check, for anyone who has the files, offline; sign, for the operator."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import click

from discreet_contract.errors import SignatureRefusedError
from discreet_contract.files import read_or_explain
from discreet_contract.policy.bundle import read_bundle
from discreet_contract.policy.log import LogHead, PolicyLog
from discreet_contract.policy.obey import Trust, believe, judge
from discreet_contract.policy.release import read_root_key, read_unverified

FOLDER = click.Path(path_type=Path)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


@click.group("log")
def log_group() -> None:
    """The transparency log: every policy ever released, in a folder of plain files."""


@log_group.command("list")
@click.argument("folder", type=FOLDER)
@_json
def list_command(folder: Path, *, as_json: bool) -> None:
    """List every release in FOLDER: version, author, reason. Checks the tree, not the signatures.

    \b
    Example:
      discreet policy log list releases
    """
    policies = [read_unverified(entry) for entry in PolicyLog.open(folder).entries]
    if as_json:
        rows = [{"version": p.version, "author": p.release.author, "reason": p.release.reason} for p in policies]
        click.echo(json.dumps({"releases": rows}))
        return
    click.echo("\n".join(f"{p.version:>4}  {p.release.author}  {p.release.reason}" for p in policies) or "nothing yet")


@log_group.command("verify")
@click.argument("folder", type=FOLDER)
@click.option("--root", "roots", multiple=True, required=True, help="Pinned root public key in hex; may be repeated.")
@click.option("--seen", metavar="SIZE:ROOT", help="Also check that the log grew from a head that a device shows.")
def verify_command(folder: Path, roots: tuple[str, ...], seen: str | None) -> None:
    """Check every signature, the order of versions, the tree and its signed head. Exits 4 if anything is wrong.

    `discreet agent status` prints the head that a device saw last.

    \b
    Example:
      discreet policy log verify releases --root 5f0c… --seen 3:9a41…
    """
    log = PolicyLog.open(folder)
    count = len(log.verify(roots))
    if seen is not None and not log.has_grown_from(_seen(seen)):
        hint = "keep the log and what the device shows: together they prove that two logs were signed"
        raise SignatureRefusedError(f"{folder}: SPLIT_VIEW: not the log under {seen}, grown", hint=hint)
    click.echo(f"{folder}: {count} release(s), root {log.root().hex()}: all signed, in order, under a signed head")


@log_group.command("prove")
@click.argument("folder", type=FOLDER)
@click.argument("version", type=click.IntRange(min=1))
@click.option("--from-size", type=click.IntRange(min=1), help="Also prove growth from the log of so many releases.")
def prove_command(folder: Path, version: int, from_size: int | None) -> None:
    """Print as JSON the proof that VERSION is in the log, with the signed head it leads to.

    \b
    Example:
      discreet policy log prove releases 3
    """
    click.echo(json.dumps(PolicyLog.open(folder).prove(version, earlier_size=from_size)))


@log_group.command("sign")
@click.argument("folder", type=FOLDER)
@click.option("--key", type=FOLDER, required=True, help="Signing key file of the root.")
def sign_command(folder: Path, key: Path) -> None:
    """Sign the log's head anew, at the present time. Devices take that time for true.

    \b
    Example:
      discreet policy log sign releases --key root.key
    """
    head = PolicyLog.open(folder).sign_anew([read_root_key(key)], time.time_ns() // 1_000_000).head
    if head is not None:
        click.echo(f"{folder}: head of {head.size} release(s) signed, root {head.root}")


@log_group.command("check")
@click.argument("file", type=FOLDER)
@click.option("--root", "roots", multiple=True, required=True, help="Pinned root public key in hex; may be repeated.")
@click.option("--witness", default="", help="Public key of a witness that must have signed.")
@click.option("--after", type=FOLDER, help="Another delivery or a device's kept one, to have grown from.")
def check_command(file: Path, roots: tuple[str, ...], witness: str, after: Path | None) -> None:
    """Judge a delivered policy as a device does: FILE is what `publish` wrote or a device keeps.

    Exits 4 with the rule that a device would count.

    \b
    Example:
      discreet policy log check policy.json --root 5f0c…
    """
    hint = "name what `discreet policy publish --output` wrote, or a device's policy.kept.json"
    content = read_or_explain(file, what="a delivered policy", hint=hint)
    before = None
    if after is not None:
        before = believe(read_bundle(read_or_explain(after, what="a delivered policy", hint=hint)), roots)
    obeyed = judge(content, Trust(roots, witness), before, time.time_ns() // 1_000_000)
    policy, head = obeyed.policy.policy, obeyed.head
    click.echo(f"{file}: a device would obey version {policy.version} of fleet {policy.fleet}")
    click.echo(f"hash {obeyed.policy.digest.hex()}, signed by {obeyed.policy.signed_by}")
    click.echo(f"log of {head.size} release(s), root {head.root}")


def _seen(text: str) -> LogHead:
    size, _, root = text.partition(":")
    if not (size.isascii() and size.isdigit() and int(size) > 0 and re.fullmatch(r"[0-9a-f]{64}", root)):
        raise click.BadParameter("SIZE:ROOT, as `discreet agent status --json` shows them", param_hint="--seen")
    return LogHead(fleet="", size=int(size), root=root, time_ms=0)
