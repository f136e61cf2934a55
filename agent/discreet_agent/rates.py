"""How many events a sender may add of one signal: a token bucket each, in integers, on the boot-time counter.

An event costs one token; `max_per_minute` of them come back in a minute, and no more are ever saved up. Kept in
memory only: after a restart, or under another policy, every bucket is full again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.event import EventRefusal, Refused

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy

MINUTE_MS = 60_000  # also what one event costs: a bucket gains `max_per_minute` a millisecond
# Senders and signals are the policy's own, so that honest use stays far below; the bound holds whatever names come in.
MAX_BUCKETS = 4096


class Rates:
    """Buckets of one policy's signals, by sender."""

    def __init__(self, policy: Policy) -> None:
        self._limits = {
            name: signal.max_per_minute for name, signal in policy.signals.items() if signal.max_per_minute is not None
        }
        self._buckets: dict[tuple[str, str], tuple[int, int]] = {}  # (level, boot time of that level)

    def __bool__(self) -> bool:
        """Whether any signal has a limit."""
        return bool(self._limits)

    def __len__(self) -> int:
        """How many buckets are remembered; a full one need not be."""
        return len(self._buckets)

    def take(self, sender: str, signal: str, boot_ms: int) -> Refused | None:
        """Use up one event's share, or say when there is one again."""
        limit = self._limits.get(signal)
        if limit is None:
            return None
        full = limit * MINUTE_MS
        level, at_ms = self._buckets.get((sender, signal), (full, boot_ms))
        level = min(full, level + max(boot_ms - at_ms, 0) * limit)
        if level < MINUTE_MS:
            return _refused(signal, limit, wait_ms=-((level - MINUTE_MS) // limit))
        if (sender, signal) not in self._buckets and len(self._buckets) >= MAX_BUCKETS:
            self._make_room(boot_ms)
        self._buckets[sender, signal] = (level - MINUTE_MS, boot_ms)
        return None

    def give_back(self, sender: str, signal: str) -> None:
        """An event's share, of which nothing came."""
        bucket, limit = self._buckets.get((sender, signal)), self._limits.get(signal)
        if bucket is not None and limit is not None:
            self._buckets[sender, signal] = (min(bucket[0] + MINUTE_MS, limit * MINUTE_MS), bucket[1])

    def _make_room(self, boot_ms: int) -> None:
        """Forget what a minute has filled again; where that is nothing, the bucket that has waited longest."""
        for key, (_, at_ms) in list(self._buckets.items()):
            if boot_ms - at_ms >= MINUTE_MS:
                del self._buckets[key]
        if len(self._buckets) >= MAX_BUCKETS:
            del self._buckets[min(self._buckets, key=lambda key: self._buckets[key][1])]


def _refused(signal: str, limit: int, *, wait_ms: int) -> Refused:
    rule = f"{signal} takes {limit} events a minute from one sender (max_per_minute)"
    return Refused(EventRefusal.RATE_LIMITED, f"{rule}; 1 asked, 0 left, the next is taken in {wait_ms} ms")
