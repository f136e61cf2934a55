"""`aggregator.toml`: where this machine's fleet, broker, keys, policies and state are.

Relative paths are relative to the folder of the configuration file, so that a demo or a
test can be moved as a whole. Every fault is a ConfigError with file, line and next step.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from discreet_aggregator.store.database import POSTGRES_SCHEMES
from discreet_contract import config as config_files
from discreet_contract.broker import LOOPBACK, Broker
from discreet_contract.clock import Clock, ReplayClock, SystemClock
from discreet_contract.errors import ConfigError
from discreet_contract.policy.terms import FleetName, HexKey

_HINT = "see deploy/server for a sample, and docs/operations.md for every key"
CREDENTIALS = "credential:"  # as keys_dir: the files that systemd hands over (LoadCredential=2026q4.key:…)
DATABASE_NAME = "aggregator.db"


class Exposition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[metrics]` of the file: where figures about the aggregator itself can be read."""

    listen: str = ""  # host:port; empty: nothing listens
    allow_network: bool = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. Raises ConfigError."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise ConfigError(f"[metrics] listen {self.listen!r} is not host:port", hint="for example 127.0.0.1:9464")
        return host.strip("[]"), int(port)

    def check(self) -> None:
        """Raise ConfigError if this cannot work, or would show figures to a network that nobody named."""
        if self.listen and self.address[0] not in LOOPBACK and not self.allow_network:
            raise ConfigError(
                f"[metrics] listen {self.listen!r} is not on this machine, and whoever reaches it may read",
                hint="listen on 127.0.0.1, or set allow_network = true behind a firewall",
            )


class AggregatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's keys. `policies` are signed policy files, or folders of *.json."""

    fleet: FleetName
    state_dir: str
    keys_dir: str
    policies: Annotated[tuple[str, ...], Meta(min_length=1)]
    roots: Annotated[tuple[HexKey, ...], Meta(min_length=1)]
    broker: Broker
    database: str = ""  # postgresql://user@host/name; empty: SQLite in state_dir
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    client_id: str = ""
    replay_clock: str = ""
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 500  # envelopes in one transaction at the most
    flush_ms: Annotated[int, Meta(ge=1, le=10_000)] = 50  # how long the first envelope of a batch may wait
    log_json: bool = True
    metrics: Exposition = Exposition()

    def session(self, worker: int, workers: int | None = None) -> str:
        """What the broker keeps a worker's session under, over restarts. Of `workers`, who count from 1."""
        name = self.client_id or f"discreet-aggregator-{self.fleet}"
        return name if (workers or self.workers) == 1 else f"{name}-{worker}"

    def sessions(self, workers: int) -> set[str]:
        """Those of all workers, were there so many."""
        return {self.session(worker, workers) for worker in range(1, workers + 1)}

    @property
    def where(self) -> str:
        """The aggregator's one database, as the store wants to be told."""
        return self.database or str(Path(self.state_dir) / DATABASE_NAME)

    def clock(self) -> Clock:
        """The machine's clock, or the replay clock of a demonstration."""
        return ReplayClock(Path(self.replay_clock)) if self.replay_clock else SystemClock()


def find_config(explicit: Path | None = None) -> Path:
    """Which file counts. Raises ConfigError where there is none."""
    return config_files.find_config(explicit, "aggregator.toml", hint=_HINT).absolute()


def load_config(explicit: Path | None = None) -> AggregatorConfig:
    """Read and check the configuration; all paths in it made absolute. Raises ConfigError."""
    path = find_config(explicit)
    config = _anchored(config_files.read_config(path, AggregatorConfig, hint=_HINT), path.parent)
    config.broker.check()
    config.metrics.check()
    if config.broker.protocol == "3.1.1":
        raise ConfigError(
            f"{path}: the aggregator speaks MQTT 5 only: 3.1.1 has no word for how long a session lasts",
            hint="drop `protocol` from [broker]; devices may speak 3.1.1 to the same broker",
        )
    if config.database and not config.database.startswith(POSTGRES_SCHEMES):
        raise ConfigError(
            f"{path}: `database` {config.database!r} is no postgresql:// address",
            hint="postgresql://user@host/name; leave it out for SQLite in `state_dir`",
        )
    if config.replay_clock and not config.broker.is_loopback:
        raise ConfigError(
            f"{path}: `replay_clock` is for demonstrations on this machine, and broker {config.broker.host} is another",
            hint="drop `replay_clock`, or use a broker on 127.0.0.1",
        )
    return config


def _anchored(config: AggregatorConfig, folder: Path) -> AggregatorConfig:
    return msgspec.structs.replace(
        config,
        state_dir=_absolute(folder, config.state_dir),
        keys_dir=_credentials() if config.keys_dir == CREDENTIALS else _absolute(folder, config.keys_dir),
        policies=tuple(_absolute(folder, entry) for entry in config.policies),
        replay_clock=_absolute(folder, config.replay_clock),
        broker=config.broker.anchored(folder),
    )


def _absolute(folder: Path, entry: str) -> str:
    return str(folder / entry) if entry else ""


def _credentials() -> str:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f'keys_dir = "{CREDENTIALS}", and no credentials were handed over',
            hint="start it as a systemd unit with LoadCredential=<id>.key:<file>, or name a folder",
        )
    return folder
