"""What an audit needs of a device: event lines in, envelopes and charges out. Nothing between is looked at.

The device lives in another distribution; it is found through the entry point group
`discreet.device_path`. A test hands in a path of its own with a fault planted.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from discreet_contract.clock import Clock
    from discreet_contract.policy.release import VerifiedPolicy

GROUP = "discreet.device_path"


@dataclass(frozen=True, slots=True)
class Charge:
    """One row of a device's ledger, as far as the audit compares it."""

    metric: str
    window_start: int  # seconds
    nano: int


class AuditedDevice(Protocol):
    """An open device."""

    def record(self, lines: Sequence[bytes]) -> int:
        """Take event lines as an app writes them; returns how many events were accepted."""
        ...

    def close_windows(self) -> None:
        """Do what the timer does: enrol, and close every window that is over."""
        ...

    def envelopes(self) -> list[bytes]:
        """Every envelope that waits to be sent, as it would be sent."""
        ...

    def charges(self) -> list[Charge]:
        """The ledger, in order of booking."""
        ...


class DevicePath(Protocol):
    """Opens a device's folder, making a new device of an empty one, with its owner's consent given."""

    def __call__(self, folder: Path, policy: VerifiedPolicy, clock: Clock) -> AbstractContextManager[AuditedDevice]:
        """The device, open until the context ends."""
        ...


def installed_path() -> DevicePath | None:
    """The path of the agent installed beside, or None."""
    for entry in entry_points(group=GROUP):
        path: DevicePath = entry.load()
        return path
    return None
