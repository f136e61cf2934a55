"""One device's folder opened: lock, secret, database, policy, consent → a pipeline.

Both the daemon and a replayed fleet open their devices here.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.consent import Consent
from discreet_agent.identity import load_secret
from discreet_agent.pipeline import Device, Pipeline
from discreet_agent.store.store import Store
from discreet_contract.state_folder import hold_state_folder

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
    with ExitStack() as stack:
        stack.enter_context(hold_state_folder(state_dir, who="agent"))
        store = stack.enter_context(Store(state_dir / DATABASE))
        consent = Consent(state_dir)
        pipeline = Pipeline(Device(load_secret(state_dir), policy, clock, consent), store)
        yield OpenDevice(pipeline, store, consent)
