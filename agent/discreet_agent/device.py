"""One device's folder opened: lock, secret, database, policy, consent → a pipeline.

Both the daemon and a replayed fleet open their devices here.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.consent import Consent
from discreet_agent.identity import load_secret
from discreet_agent.pipeline import Device, Pipeline
from discreet_agent.store.store import Store
from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from discreet_contract.clock import Clock
    from discreet_contract.policy.release import VerifiedPolicy

DATABASE = "agent.db"


@dataclass(frozen=True, slots=True)
class OpenDevice:
    """A device at work."""

    pipeline: Pipeline
    store: Store
    consent: Consent


@contextmanager
def open_device(state_dir: Path, policy: VerifiedPolicy, clock: Clock) -> Iterator[OpenDevice]:
    """Open a device's folder, making it if need be; one process at a time."""
    prepare(state_dir)
    with ExitStack() as stack:
        stack.enter_context(_only_process(state_dir))
        store = stack.enter_context(Store(state_dir / DATABASE))
        consent = Consent(state_dir)
        pipeline = Pipeline(Device(load_secret(state_dir), policy, clock, consent), store)
        yield OpenDevice(pipeline, store, consent)


def prepare(state_dir: Path) -> None:
    """Make the state folder, for its owner's eyes only."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"cannot make {state_dir}: {exc.strerror}", hint="set `state_dir` to a folder you may write"
        ) from exc


@contextmanager
def _only_process(state_dir: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel drops it with the process, however that ends."""
    descriptor = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigError(
                f"another agent works in {state_dir}", hint="stop it, or set another `state_dir`"
            ) from exc
        yield
    finally:
        os.close(descriptor)
