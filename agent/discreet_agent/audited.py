"""A device as `discreet policy audit` walks it: the pipeline of the daemon, over a folder of its own.

Found through the entry point group `discreet.device_path`; the shape is
`discreet_contract.audit.device_path`. It opens the same door as the socket does (`decode_line`)
and hands out what the publisher would send; nothing in between is made for the audit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from discreet_agent.consent import Word, privacy_class, write_word
from discreet_agent.device import OpenDevice, open_device
from discreet_agent.receive.lines import Greeting, Query, decode_line
from discreet_contract.audit.device_path import Charge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from discreet_agent.event import Received
    from discreet_contract.clock import Clock
    from discreet_contract.policy.release import VerifiedPolicy

_WHENEVER_MS = 2**62  # later than any random delay
_ALL = 2**31


class AgentDevice:
    """One open device; see `AuditedDevice`."""

    def __init__(self, device: OpenDevice) -> None:
        self._device = device

    def record(self, lines: Sequence[bytes]) -> int:
        """See `AuditedDevice.record`."""
        received = [item for line in lines for item in _events_in(line)]
        return self._device.pipeline.record(received).count(None)

    def close_windows(self) -> None:
        """See `AuditedDevice.close_windows`."""
        self._device.pipeline.close_windows()

    def envelopes(self) -> list[bytes]:
        """See `AuditedDevice.envelopes`."""
        return [row.envelope for row in self._device.store.outbox.due(_WHENEVER_MS, _ALL)]

    def charges(self) -> list[Charge]:
        """See `AuditedDevice.charges`."""
        entries = self._device.store.ledger.entries()
        return [Charge(entry.metric, entry.window_start, entry.nano) for entry in entries]


@contextmanager
def open_audited(folder: Path, policy: VerifiedPolicy, clock: Clock) -> Iterator[AgentDevice]:
    """See `DevicePath`."""
    with open_device(folder, policy, clock) as device:
        if device.consent.word() is None:
            write_word(folder, Word("on", clock.now_ms(), privacy_class(policy.policy)))
        yield AgentDevice(device)


def _events_in(line: bytes) -> list[Received]:
    content = decode_line(line)
    return [] if isinstance(content, Query | Greeting) else list(content)
