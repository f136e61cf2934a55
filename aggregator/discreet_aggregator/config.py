"""`aggregator.toml`: where this machine's fleet, broker, keys, policies and state are.

Relative paths are relative to the folder of the configuration file, so that a demo or a
test can be moved as a whole. Every fault is a ConfigError with file, line and next step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from discreet_contract.broker import Broker
from discreet_contract.clock import Clock, ReplayClock, SystemClock
from discreet_contract.config import find_config, read_config
from discreet_contract.errors import ConfigError
from discreet_contract.policy.terms import FleetName, HexKey

_HINT = "see deploy/server for a sample; name another file with --config"
DATABASE_NAME = "aggregator.db"


class AggregatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's keys. `policies` are signed policy files, or folders of *.json."""

    fleet: FleetName
    state_dir: str
    keys_dir: str
    policies: Annotated[tuple[str, ...], Meta(min_length=1)]
    roots: Annotated[tuple[HexKey, ...], Meta(min_length=1)]
    broker: Broker
    client_id: str = ""
    replay_clock: str = ""
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 500  # envelopes in one transaction at the most
    flush_ms: Annotated[int, Meta(ge=1, le=10_000)] = 50  # how long the first envelope of a batch may wait
    log_json: bool = True

    @property
    def mqtt_client_id(self) -> str:
        """Stable over restarts: the broker keeps the session under this name."""
        return self.client_id or f"discreet-aggregator-{self.fleet}"

    @property
    def database(self) -> Path:
        """The aggregator's one database."""
        return Path(self.state_dir) / DATABASE_NAME

    def clock(self) -> Clock:
        """The machine's clock, or the replay clock of a demonstration."""
        return ReplayClock(Path(self.replay_clock)) if self.replay_clock else SystemClock()


def load_config(explicit: Path | None = None) -> AggregatorConfig:
    """Read and check the configuration; all paths in it made absolute. Raises ConfigError."""
    path = find_config(explicit, "aggregator.toml", hint=_HINT).absolute()
    config = _anchored(read_config(path, AggregatorConfig, hint=_HINT), path.parent)
    config.broker.check()
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
        keys_dir=_absolute(folder, config.keys_dir),
        policies=tuple(_absolute(folder, entry) for entry in config.policies),
        replay_clock=_absolute(folder, config.replay_clock),
        broker=config.broker.anchored(folder),
    )


def _absolute(folder: Path, entry: str) -> str:
    return str(folder / entry) if entry else ""
