"""This machine's own settings: agent.toml. What may be collected is the policy's business, not this file's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from discreet_agent.steps.device import DEFAULT_LIMITS, Limits
from discreet_agent.trials.facts import Facts
from discreet_contract.broker import Broker
from discreet_contract.config import find_config, read_config
from discreet_contract.policy.terms import HexKey, Label

HINT = "docs/operations.md lists every key; deploy/device/agent.toml is a sample"


# Connecting takes the right to write; the owner always has it, nobody ever executes a socket.
SocketMode = Annotated[str, msgspec.Meta(pattern="^0?6[06][06]$", description="`0600`, `0660`, `0606` or `0666`")]


class AgentConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """agent.toml. Relative paths count from the file's own folder."""

    policy: str  # signed policy with its proofs, as `discreet policy publish` writes it
    roots: Annotated[tuple[HexKey, ...], msgspec.Meta(min_length=1)]  # pinned root public keys, hex
    broker: Broker
    witness: HexKey | Literal[""] = ""  # public key whose signature every log head must bear
    state_dir: str = ""
    socket: str = ""
    socket_mode: SocketMode = "0660"
    socket_group: str = ""
    http: str = ""  # loopback address and port for OTLP/HTTP
    resend_seconds: Annotated[float, msgspec.Meta(ge=0.1)] = 60.0  # first wait for a receipt
    min_free_disk_bytes: Annotated[int, msgspec.Meta(ge=0)] = 64_000_000
    log_json: bool = True
    max_database_bytes: Annotated[int, msgspec.Meta(ge=1_048_576)] = DEFAULT_LIMITS.max_database_bytes
    deny_signals: tuple[str, ...] = ()
    max_epsilon_per_28_days: Annotated[float, msgspec.Meta(ge=0)] | None = None
    max_epsilon_per_365_days: Annotated[float, msgspec.Meta(ge=0)] | None = None
    max_epsilon_lifetime: Annotated[float, msgspec.Meta(ge=0)] | None = None
    platform: Label = "linux"
    release: Label | Literal[""] = ""

    @property
    def limits(self) -> Limits:
        """What the owner lets the agent take."""
        caps = (self.max_epsilon_per_28_days, self.max_epsilon_per_365_days, self.max_epsilon_lifetime)
        return Limits(self.max_database_bytes, self.deny_signals, caps)


class Settings(msgspec.Struct, frozen=True):
    """The configuration with every path made absolute and every default filled."""

    policy: Path
    roots: tuple[str, ...]
    witness: str
    broker: Broker
    state_dir: Path
    socket: Path
    socket_mode: int
    socket_group: str
    http: str
    resend_seconds: float
    min_free_disk_bytes: int
    log_json: bool
    limits: Limits
    facts: Facts


def load_settings(named: Path | None) -> Settings:
    """Read and resolve the configuration. Raises ConfigError naming file, line and key."""
    path = find_config(named, "agent.toml", hint=HINT)
    config = read_config(path, AgentConfig, hint=HINT)
    config.broker.check()
    if config.http:
        from discreet_agent.receive.http_guard import parse_address  # nothing of HTTP is loaded where it is off

        parse_address(config.http)
    base = path.resolve().parent
    return Settings(
        policy=base / config.policy,
        roots=config.roots,
        witness=config.witness,
        broker=config.broker.anchored(base),
        state_dir=base / config.state_dir if config.state_dir else _state_dir(),
        socket=base / config.socket if config.socket else _socket(),
        socket_mode=int(config.socket_mode, 8),
        socket_group=config.socket_group,
        http=config.http,
        resend_seconds=config.resend_seconds,
        min_free_disk_bytes=config.min_free_disk_bytes,
        log_json=config.log_json,
        limits=config.limits,
        facts=Facts(config.platform, config.release),
    )


def _state_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/discreet")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "discreet"


def _socket() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return (Path(runtime) / "discreet" if runtime else Path("/run/discreet")) / "agent.sock"
