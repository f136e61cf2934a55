"""The time by which data are forgotten: how much time has passed, whatever the wall clock says meanwhile.

Within a boot it advances by the boot counter alone, so that a wall clock set back keeps nothing longer and one
set forward destroys nothing. How long a device was off only the wall clock can tell: what it claims at
a boot is held until it is confirmed (the kernel says it is synchronised, or a signed time reaches it), and for
one day of uptime at the most, because a device that is offline for good must forget as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

if TYPE_CHECKING:
    from discreet_contract.clock import Clock

TOLERANCE_MS = 3_600_000  # time off that needs no confirmation
HOLD_MS = 86_400_000  # uptime after which an unconfirmed absence is believed
SAVE_EVERY_MS = 3_600_000  # what a power cut may set it back by


class HighWater(msgspec.Struct, frozen=True, array_like=True):
    """What is known at one reading of the boot counter; milliseconds."""

    ms: int  # retention time: rises with every millisecond that passes
    offset_ms: int  # wall time less retention time, as last confirmed
    boot_id: str
    boot_ms: int
    is_settled: bool  # it is known how long the device was off before this boot
    held_ms: int  # uptime for which the wall clock has been off without confirmation
    is_ahead: bool = False  # of what is known to have passed

    @classmethod
    def first(cls, clock: Clock) -> Self:
        """Of a device that was never off: both clocks agree."""
        return cls(clock.now_ms(), 0, clock.boot_id(), clock.boot_ms(), is_settled=True, held_ms=0)


class RetentionClock:
    """One device's. `now_ms` reads it; `save` says what to keep, `is_news` when."""

    def __init__(self, clock: Clock, kept: HighWater | None) -> None:
        self._clock = clock
        self._mark = kept or HighWater.first(clock)
        self._saved = kept
        self._signed_ms = 0

    def hear(self, signed_ms: int) -> None:
        """Take a time that somebody signed: it is at least so late."""
        self._signed_ms = max(self._signed_ms, signed_ms)

    def now_ms(self) -> int:
        """Retention time, milliseconds."""
        mark, wall_ms = self._mark, self._clock.now_ms()
        boot_id, boot_ms = self._clock.boot_id(), self._clock.boot_ms()
        is_same_boot = boot_id == mark.boot_id
        elapsed = max(boot_ms - mark.boot_ms, 0) if is_same_boot else boot_ms
        ms, offset_ms, is_settled = mark.ms + elapsed, mark.offset_ms, is_same_boot and mark.is_settled
        lead = wall_ms - (ms + offset_ms)
        held_ms = self._held_before(lead, is_same_boot=is_same_boot) + elapsed if abs(lead) > TOLERANCE_MS else 0
        if abs(lead) <= TOLERANCE_MS or self._is_confirmed(wall_ms, held_ms):
            if is_settled or lead < 0:  # the wall clock moved, no time was lost
                offset_ms += lead if abs(lead) > TOLERANCE_MS else 0
            else:  # so long it was off
                ms += lead
            is_settled = True
        self._mark = HighWater(
            ms, offset_ms, boot_id, boot_ms, is_settled=is_settled, held_ms=held_ms, is_ahead=lead > 0
        )
        return ms

    def of(self, wall_ms: int) -> int:
        """Retention time of a moment that the wall clock named just now."""
        return wall_ms - self._clock.now_ms() + self.now_ms()

    @property
    def is_wall_doubtful(self) -> bool:
        """Whether the wall clock contradicts what passed: it lies behind, or moved within this boot, unconfirmed."""
        lead = self._clock.now_ms() - self.now_ms() - self._mark.offset_ms
        return lead < -TOLERANCE_MS or (self._mark.is_settled and lead > TOLERANCE_MS)

    @property
    def signed_ms(self) -> int:
        """The latest time that somebody signed and this clock heard of; 0: none yet."""
        return self._signed_ms

    @property
    def expected_wall_ms(self) -> int:
        """What the wall clock ought to say: itself where nothing speaks against it, else what was last confirmed."""
        return self.now_ms() + self._mark.offset_ms if self.is_wall_doubtful else self._clock.now_ms()

    @property
    def is_held(self) -> bool:
        """Whether the wall clock claims an absence that is not believed yet."""
        self.now_ms()
        return not self._mark.is_settled

    @property
    def is_news(self) -> bool:
        """Whether what is on disk is older than a power cut may cost."""
        self.now_ms()
        saved, mark = self._saved, self._mark
        if saved is None or (saved.boot_id, saved.is_settled) != (mark.boot_id, mark.is_settled):
            return True
        return mark.ms - saved.ms >= SAVE_EVERY_MS

    def save(self) -> HighWater:
        """What to keep, in the caller's transaction."""
        self.now_ms()
        self._saved = self._mark
        return self._mark

    def _held_before(self, lead_ms: int, *, is_same_boot: bool) -> int:
        """Uptime that counts for the present hold; an absence that was not believed yet goes on over boots.

        Else a machine that is switched off each night would never count its nights, and keep data three times as long.
        """
        mark = self._mark
        is_absence = lead_ms > 0 and mark.is_ahead and not mark.is_settled
        return mark.held_ms if is_same_boot or is_absence else 0

    def _is_confirmed(self, wall_ms: int, held_ms: int) -> bool:
        is_signed = self._signed_ms > 0 and abs(self._signed_ms - wall_ms) <= TOLERANCE_MS
        return is_signed or held_ms >= HOLD_MS or self._clock.is_synchronized()
