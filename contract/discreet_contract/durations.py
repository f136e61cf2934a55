"""Durations as policies write them: "90s", "5m", "2h", "28d"."""

from __future__ import annotations

from functools import cache
from typing import Annotated, TypeAlias

import msgspec

END = r"$(?!\n)"  # of a pattern: Python's `$` alone also matches before a final line break

Duration: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^([1-9][0-9]{0,6}(s|m|h|d)|0s)" + END)]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


_GRAINS = (86_400, 21_600, 3600, 600, 60, 10, 1)


def grain(retention_seconds: int) -> int:
    """Seconds of events that are forgotten together: a round eighth of their retention, one day at the most."""
    return next((length for length in _GRAINS if 8 * length <= retention_seconds), 1)


@cache
def seconds(duration: str) -> int:
    """Length of a `Duration` in seconds."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]
