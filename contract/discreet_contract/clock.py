"""Time as an argument: wall time for events and windows, boot time for waiting.

The replay clock reads its time from a file which the replay's driver advances, so that
several processes step together; DESIGN.md §9 allows it on a loopback broker only.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


class Clock(Protocol):
    """Where a side reads the time."""

    def now_ms(self) -> int:
        """Wall time, milliseconds since the UTC epoch."""
        ...

    def boot_ms(self) -> int:
        """Milliseconds since boot, suspended time included; never goes back within one boot."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """See `Clock.boot_ms`."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass(slots=True)
class ManualClock:
    """A clock that stands still until it is moved; for replay within one process, and for tests."""

    ms: int

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return self.ms

    def boot_ms(self) -> int:
        """See `Clock.boot_ms`."""
        return self.ms

    def advance_to(self, ms: int) -> None:
        """Move to a later time; a step back is ignored."""
        self.ms = max(self.ms, ms)


@dataclass(frozen=True, slots=True)
class ReplayClock:
    """Reads wall time from a file with one integer (ms); boot time stays the machine's."""

    path: Path

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        try:
            return int(self.path.read_text(encoding="ascii"))
        except (OSError, ValueError) as exc:
            raise ConfigError(
                f"replay clock {self.path} holds no time",
                hint="write milliseconds since the epoch into it, or drop `replay_clock` from the configuration",
            ) from exc

    def boot_ms(self) -> int:
        """See `Clock.boot_ms`."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    @staticmethod
    def write(path: Path, ms: int) -> None:
        """Advance the clock in `path`, so that a reader sees the old or the new time, never half of one."""
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(str(ms), encoding="ascii")
        temporary.replace(path)


def window_start(at_seconds: int, length_seconds: int) -> int:
    """Start of the UTC-epoch-aligned window [k·w, (k+1)·w) that holds a time; all in seconds."""
    return at_seconds - at_seconds % length_seconds
