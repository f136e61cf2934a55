"""One signal's hour, summed up: what the watch over sources compares."""

from __future__ import annotations

import msgspec

HOUR_SECONDS = 3600
WEEK_HOURS = 168


class Hour(msgspec.Struct, frozen=True, array_like=True):
    """What is kept of one signal's hour: how many events, and the mean of each number field that had enough values."""

    index: int  # hours since the epoch, by this device's clock
    count: int
    means: dict[str, float]
