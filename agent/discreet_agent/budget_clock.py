"""The time by which windows close and are charged: the wall clock, as far as it may be believed.

What is proven lies in the database. An older copy is harmless, because it proves less; so it
is saved with each charge, at a boot, with a newer signed time, and else every few hours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from discreet_agent.store.head import Halt, Halted
from discreet_contract.proven_time import SLACK_MS, TOLERANCE_MS, ProvenTime

if TYPE_CHECKING:
    from discreet_agent.store.store import Store
    from discreet_contract.clock import Clock

_FACT = "proven_time"
_LAST_MS = 253_402_300_799_000  # of calendars: the end of the year 9999
_SAVE_EVERY_MS = 6 * 3_600_000  # lost at a power cut at most; a flash page a time


class BudgetClock:
    """One device's. `learn` what is signed, ask `now_ms`, `save` or `keep` what is proven."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        kept = store.recall(_FACT)
        self._saved = None if kept is None else msgspec.convert(kept, ProvenTime)
        self._proven = self._saved or ProvenTime.nothing(clock)

    @property
    def proven(self) -> ProvenTime:
        """What is known of time now."""
        self._proven = self._proven.at(self._clock)
        return self._proven

    def learn(self, signed_ms: int) -> None:
        """Take the time under a signed head that is obeyed."""
        self._proven = self.proven.learn(signed_ms, self._clock.now_ms())

    def hear(self, ms: int) -> None:
        """Take a beacon that the policy's aggregator signed."""
        self._proven = self.proven.reach(ms, self._clock.now_ms())

    def now_ms(self) -> int:
        """Time for windows and budgets."""
        return self.proven.believe(self._clock.now_ms())

    def save(self) -> None:
        """Write down what is proven; within a transaction."""
        proven = self.proven
        self._store.remember(_FACT, msgspec.to_builtins(proven))
        self._saved = proven

    def keep(self) -> None:
        """The same in its own transaction, if it is news."""
        new, old = self.proven, self._saved
        is_news = old is None or (new.boot_id, new.signed_ms) != (old.boot_id, old.signed_ms)
        if is_news or (old is not None and new.ms - old.ms >= _SAVE_EVERY_MS):
            with self._store.transaction():
                self.save()

    @property
    def halted(self) -> Halted | None:
        """Why the wall clock is not believed as it stands, or None. What it says is over waits."""
        wall_ms, proven = self._clock.now_ms(), self.proven
        says = f"this device's clock says {_iso(wall_ms)}"
        if wall_ms < proven.ms - TOLERANCE_MS:
            return Halted(Halt.CLOCK_BEHIND, f"{says}, and {_iso(proven.ms)} has passed for certain")
        if wall_ms > proven.ms + SLACK_MS:
            signed = f"the last signed time is {_iso(proven.signed_ms)}" if proven.signed_ms else "no time is signed"
            return Halted(Halt.CLOCK_UNPROVEN, f"{says}, it is believed until {_iso(proven.limit_ms)}; {signed}")
        if wall_ms > proven.limit_ms + TOLERANCE_MS:
            return Halted(Halt.CLOCK_JUMPED, f"{says}, and by this boot's counter it is {_iso(proven.limit_ms)}")
        return None


def _iso(ms: int) -> str:
    if ms > _LAST_MS:  # a signed time may be any number: a signer's mistake must not stop a device that explains it
        return "after the year 9999"
    return datetime.fromtimestamp(ms // 1000, UTC).isoformat().replace("+00:00", "Z")
