"""Time as an argument: wall time for events and windows, boot time for waiting.

The replay clock reads its time from a file which the replay's driver advances, so that
several processes step together; DESIGN.md §9 allows it on a loopback broker only.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Protocol

from discreet_contract.errors import ConfigError

_TIME_ERROR = 5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Where a side reads the time."""

    def now_ms(self) -> int:
        """Wall time, milliseconds since the UTC epoch."""
        ...

    def boot_ms(self) -> int:
        """Milliseconds since boot, suspended time included; never goes back within one boot."""
        ...

    def boot_id(self) -> str:
        """Names the boot that `boot_ms` counts from: readings of two boots are never compared."""
        ...

    def is_synchronized(self) -> bool:
        """Whether something better than this machine's own crystal keeps the wall clock right."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def boot_ms(self) -> int:
        """See `Clock.boot_ms`."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def boot_id(self) -> str:
        """See `Clock.boot_id`."""
        return _machine_boot_id()

    def is_synchronized(self) -> bool:
        """See `Clock.is_synchronized`: what the kernel was told by whoever disciplines its clock."""
        return _kernel_is_synchronized()


@dataclass(slots=True)
class ManualClock:
    """A clock that stands still until it is moved; for replay within one process, and for tests."""

    ms: int

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return self.ms

    def boot_ms(self) -> int:
        """See `Clock.boot_ms`. Its own counter: whoever moves this clock says that so much time has passed."""
        return self.ms

    def boot_id(self) -> str:
        """See `Clock.boot_id`. One boot for ever, also in the next process."""
        return "manual"

    def is_synchronized(self) -> bool:
        """See `Clock.is_synchronized`."""
        return True

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

    def boot_id(self) -> str:
        """See `Clock.boot_id`."""
        return _machine_boot_id()

    def is_synchronized(self) -> bool:
        """See `Clock.is_synchronized`."""
        return True

    @staticmethod
    def write(path: Path, ms: int) -> None:
        """Advance the clock in `path`, so that a reader sees the old or the new time, never half of one."""
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(str(ms), encoding="ascii")
        temporary.replace(path)


@cache
def _machine_boot_id() -> str:
    """The kernel's name for this boot; where it tells none, a process is a boot of its own."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"process {secrets.token_hex(8)}"


def _kernel_is_synchronized() -> bool:
    """adjtimex(2), reading only: its state is TIME_ERROR until a time service clears STA_UNSYNC."""
    import ctypes  # needed after a doubtful boot only

    libc = ctypes.CDLL(None)
    adjtimex = getattr(libc, "adjtimex", None)
    return adjtimex is not None and 0 <= adjtimex(ctypes.create_string_buffer(512)) < _TIME_ERROR


def window_start(at_seconds: int, length_seconds: int) -> int:
    """Start of the UTC-epoch-aligned window [k·w, (k+1)·w) that holds a time; all in seconds."""
    return at_seconds - at_seconds % length_seconds


def start_of_day(day: str) -> int:
    """First second of a day, `YYYY-MM-DD` in UTC."""
    moment = date.fromisoformat(day)
    return int(datetime(moment.year, moment.month, moment.day, tzinfo=UTC).timestamp())
