"""How far a wall clock may be believed when a budget is spent by it.

Three things prove time: a time that the policy's signers put under the log's head, one that
the aggregator signs, and the machine's own counter since boot. Together they never run ahead of
true time (unless a signer's clock did). The wall clock is believed at a boot and when a newer
signed time is learnt, up to `SLACK_MS` beyond what is proven; in between, belief grows with the
counter alone. So it cannot be walked forward: not in steps, not by rebooting. docs/decisions/0014
has the reasons.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from discreet_contract.clock import Clock

SLACK_MS = 28 * 86_400_000  # one span of the shortest cap: at most that much is ever charged before its time
TOLERANCE_MS = 3_600_000  # a wall clock further off than this is wrong, not merely imprecise


class ProvenTime(msgspec.Struct, frozen=True, array_like=True):
    """What one device knows of time, at one reading of its boot counter. Milliseconds since the UTC epoch."""

    ms: int  # has passed for certain
    limit_ms: int  # until here the wall clock is believed; never more than SLACK_MS later
    signed_ms: int  # the last signed time that was learnt; 0 before the first
    boot_id: str
    boot_ms: int
    heads_ms: int = 0  # the part of `ms` that heads and counter prove without the aggregator

    @classmethod
    def nothing(cls, clock: Clock) -> Self:
        """What a device knows that has learnt nothing yet: it has been up for so long."""
        up_ms = clock.boot_ms()
        return cls(up_ms, min(clock.now_ms(), up_ms + SLACK_MS), 0, clock.boot_id(), up_ms, up_ms)

    def at(self, clock: Clock) -> Self:
        """The same, now. How long a machine was off nobody can prove: of another boot only what follows counts."""
        boot_id, boot_ms = clock.boot_id(), clock.boot_ms()
        if boot_id == self.boot_id:
            elapsed = max(boot_ms - self.boot_ms, 0)
            ms, limit_ms, heads_ms = (known + elapsed for known in (self.ms, self.limit_ms, self.heads_ms))
            return type(self)(ms, limit_ms, self.signed_ms, boot_id, boot_ms, heads_ms)
        limit_ms = max(self.limit_ms, min(clock.now_ms(), self.ms + SLACK_MS))
        return type(self)(self.ms, limit_ms, self.signed_ms, boot_id, boot_ms, self.heads_ms)

    def learn(self, signed_ms: int, wall_ms: int) -> Self:
        """With a signed time. One that is earlier than the last one says that the last one was wrong.

        What the aggregator said before is dropped: it may have been wrong, and if it was not it says so again.
        """
        if signed_ms == self.signed_ms:
            return self
        ms = signed_ms if signed_ms < self.signed_ms else max(self.heads_ms, signed_ms)
        limit_ms = min(max(self.limit_ms, wall_ms), ms + SLACK_MS)
        return type(self)(ms, limit_ms, signed_ms, self.boot_id, self.boot_ms, ms)

    def reach(self, ms: int, wall_ms: int) -> Self:
        """With the aggregator's word that it is at least so late. It moves nothing back, so an old one says nothing."""
        if ms <= self.ms:
            return self
        limit_ms = min(max(self.limit_ms, wall_ms), ms + SLACK_MS)
        return type(self)(ms, limit_ms, self.signed_ms, self.boot_id, self.boot_ms, self.heads_ms)

    def believe(self, wall_ms: int) -> int:
        """The wall clock, as far as it may be believed."""
        return min(wall_ms, self.limit_ms)
