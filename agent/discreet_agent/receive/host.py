"""The built-in source: this host's load, memory, temperature and uptime, read with psutil."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import psutil

from discreet_agent.event import EventLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_contract.condition import FieldValue
    from discreet_contract.policy.model import Signal

_MEDIUM_PERCENT = 70
_HIGH_PERCENT = 90


def sample_host(name: str, signal: Signal, now_ms: int) -> EventLine:
    """One event of the signal declared for the host collector; a field the signal does not declare is not read."""
    fields = {
        field: value
        for field, read in _READERS.items()
        if field in signal.fields and (value := _attempted(read)) is not None
    }
    return EventLine(signal=name, version=signal.version, time=now_ms, fields=fields)


def _attempted(read: Callable[[], FieldValue | None]) -> FieldValue | None:
    """Nothing where this machine does not say: a sandbox without /proc, a driver with a fault. The agent goes on."""
    try:
        value = read()
    except (OSError, ValueError, RuntimeError, psutil.Error):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _load_percent() -> FieldValue:
    """One-minute load average over the number of cores, in percent; above 100 something waits."""
    return 100 * psutil.getloadavg()[0] / (psutil.cpu_count() or 1)


def _memory_percent() -> FieldValue:
    return float(psutil.virtual_memory().percent)


def _memory_pressure() -> FieldValue:
    used = psutil.virtual_memory().percent
    if used >= _HIGH_PERCENT:
        return "high"
    return "medium" if used >= _MEDIUM_PERCENT else "low"


def _temperature() -> FieldValue | None:
    """Hottest sensor in °C; None on machines without one, containers among them."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    readings = [entry.current for entries in sensors.values() for entry in entries if entry.current]
    return max(readings, default=None)


def _uptime() -> FieldValue:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_READERS = {
    "load_percent": _load_percent,
    "memory_percent": _memory_percent,
    "memory_pressure": _memory_pressure,
    "temperature": _temperature,
    "uptime": _uptime,
}
