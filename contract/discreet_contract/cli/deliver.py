"""`discreet policy publish`, `witness` and `keys`: from the log to the devices, and who may sign."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from discreet_contract.broker import Broker
from discreet_contract.errors import ConfigError, SignatureRefusedError
from discreet_contract.files import write_or_explain
from discreet_contract.policy.bundle import make_bundle
from discreet_contract.policy.compile import canonicalize
from discreet_contract.policy.deliver import publish_retained, retained_size
from discreet_contract.policy.log import LogHead, PolicyLog, read_head
from discreet_contract.policy.release import new_root_key, read_root_key

FILE = click.Path(path_type=Path)
_log = click.option("--log", "folder", type=FILE, required=True, help="Folder of the transparency log.")


@click.command("publish")
@_log
@click.option("--output", "-o", type=FILE, help="Write to this file, to be named as `policy` in agent.toml.")
@click.option("--broker", "url", help="Publish to this broker: mqtts://host:port.")
@click.option("--username", default="", help="Name of the broker account.")
@click.option("--password-file", default="", help="File that holds its password.")
@click.option("--ca-file", default="", help="PEM file of the authority that signed the broker's certificate.")
@click.option("--cert-file", default="", help="PEM file of your own certificate.")
@click.option("--key-file", default="", help="PEM file of that certificate's key.")
@click.option("--allow-plaintext", is_flag=True, help="Permit mqtt:// to another machine.")
@click.option("--from-size", type=click.IntRange(min=1), help="Prove growth from this size on (default: the last 64).")
@click.option("--key", type=FILE, help="Sign the log's head anew first: devices take its time for true.")
def publish_command(
    folder: Path, output: Path | None, url: str | None, from_size: int | None, key: Path | None, **account: str | bool
) -> None:
    """Deliver the newest release with its proofs: to a file, to a broker as the retained message, or both.

    \b
    Example:
      discreet policy publish --log releases --output policy.json
      discreet policy publish --log releases --broker mqtts://broker.example.org --username operator
                              --password-file operator.password
    """
    if output is None and url is None:
        raise click.UsageError("say where to: --output FILE, --broker URL, or both")
    log = PolicyLog.open(folder)
    if key is not None:
        if _head_of(log).witnesses:
            hint = "sign with `discreet policy log sign`, have the witness sign, then publish without --key"
            raise ConfigError(f"{folder}: a new head would lack its witness", hint=hint)
        log = log.sign_anew([read_root_key(key)], _now_ms())
    bundle = make_bundle(log, earliest=from_size)
    head = _head_of(log)
    if output is not None:
        write_or_explain(output, bundle, what="the policy", hint="choose another --output", mode=0o644)
        click.echo(f"{output}: version {head.size} of {head.fleet}, {len(bundle)} bytes")
    if url is not None:
        broker = msgspec.convert({"url": url} | account, Broker)
        newer = retained_size(broker, head.fleet)
        if newer > head.size:
            message = f"{url}: version {newer} is retained already, and {folder} ends with {head.size}"
            raise ConfigError(
                message, hint="pull the newest log; a rollback is a release too: `discreet policy rollback`"
            )
        publish_retained(broker, head.fleet, bundle)
        click.echo(f"{url}: version {head.size} of {head.fleet} is retained, {len(bundle)} bytes")


@click.command("witness")
@_log
@click.option("--key", type=FILE, required=True, help="The witness's own signing key file.")
@click.option("--root", "roots", multiple=True, required=True, help="Pinned root public key in hex; may be repeated.")
@click.option("--seen", type=FILE, required=True, help="File in which the witness keeps the last head it signed.")
def witness_command(folder: Path, key: Path, roots: tuple[str, ...], seen: Path) -> None:
    """Check the whole log, that it grew from the last head seen, and sign its head. Exits 4 if anything is wrong.

    A witness is another party than the operator. Devices told to demand its signature (`witness` in
    agent.toml) can be shown no other log than the witness.

    \b
    Example:
      discreet policy witness --log releases --key witness.key --root 5f0c… --seen last-head.json
    """
    log = PolicyLog.open(folder)
    log.verify(roots)
    head = _head_of(log)
    if seen.exists() and not log.has_grown_from(read_head(seen)):
        hint = "sign nothing; show both heads to the auditors: whoever holds the root key signed two logs"
        raise SignatureRefusedError(
            f"{folder}: log refused: SPLIT_VIEW: not the log of {seen}, grown", rule="SPLIT_VIEW", hint=hint
        )
    content = canonicalize(msgspec.to_builtins(head)) + b"\n"
    write_or_explain(seen, content, what="the last head seen", hint="choose a place that you may write to")
    log.cosign(read_root_key(key))
    click.echo(f"{folder}: head of {head.size} release(s) witnessed, root {head.root}")


@click.group("keys")
def keys_group() -> None:
    """Signing keys of the people who release policies."""


@keys_group.command("new")
@click.argument("file", type=FILE)
def new_key(file: Path) -> None:
    """Create a signing key in FILE (mode 0600) and print its public half, to be pinned on devices.

    \b
    Example:
      discreet policy keys new root.key
    """
    click.echo(new_root_key(file))


@keys_group.command("rotate")
@_log
@click.option("--key", type=FILE, required=True, help="Signing key file of the root that retires.")
@click.option("--new-key", type=FILE, required=True, help="Signing key file of its successor.")
def rotate_key(folder: Path, key: Path, new_key: Path) -> None:
    """Let another root key sign from the next release on. The old root signs this; devices follow it.

    Devices that have followed it obey nothing more that the old key signs. One that has not yet heard
    of it still trusts the old key: publish a release soon, and pin the new root on new devices.

    \b
    Example:
      discreet policy keys rotate --log releases --key root.key --new-key root2.key
    """
    log = PolicyLog.open(folder)
    new = read_root_key(new_key).verify_key.encode().hex()
    old = read_root_key(key)
    if new == old.verify_key.encode().hex():
        raise ConfigError(f"{new_key}: the same key", hint="make another one with `discreet policy keys new`")
    statement = log.change_root(old, new).successions[-1]
    click.echo(f"from version {statement.from_version} on: {new}, and no longer {statement.old}")


def _head_of(log: PolicyLog) -> LogHead:
    if log.head is None:
        raise ConfigError(f"{log.folder}: nothing was released", hint="release a policy with `discreet policy release`")
    return log.head


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
