"""The owner says: forget this now. Raw events, open windows, ids; never the ledger, nor what already left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from discreet_agent.store.deletions import Why
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_agent.steps.enriched import Enriched
    from discreet_agent.steps.forget import Forgetting
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.steps.tallying import Tallying
    from discreet_agent.store.raw import KeptBucket
    from discreet_agent.store.store import Store


class Purge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to forget: one signal or all, up to a moment or everything."""

    signal: str | None = None
    before_ms: int | None = None

    def covers(self, signal: str) -> bool:
        """Whether this signal's events are meant."""
        return self.signal in {None, signal}


class Purging:
    """Carries a purge out, whether recording is on or off: it is the owner's word."""

    def __init__(
        self, store: Store, layer: RawLayer, tallying: Tallying, enriched: Enriched, forgetting: Forgetting
    ) -> None:
        self._store = store
        self._layer = layer
        self._tallying = tallying
        self._enriched = enriched
        self._forgetting = forgetting

    def purge(self, purge: Purge) -> int:
        """Forget; returns how many raw events went. May be repeated after a kill.

        Raises RetryableError where another process reads the database, so that its log keeps what was forgotten.
        """
        self._layer.close_buckets()
        meant = [kept for kept in self._store.raw.buckets() if purge.covers(kept.bucket.signal) and kept.doomed is None]
        gone: list[tuple[KeptBucket, Why]] = []
        until = None if purge.before_ms is None else self._layer.clock.of(purge.before_ms) // 1000
        for kept in meant:
            if until is None or kept.bucket.start + kept.bucket.length <= until:
                gone.append((kept, Why.PURGED))
            elif kept.bucket.start < until:
                self._move_younger(kept, purge)
                gone.append((kept, Why.PURGED))
        self._enriched.prepare()
        with self._store.transaction():
            self._tallying.forget(purge.signal, purge.before_ms)
            self._enriched.purge(purge.signal, purge.before_ms)
            before_hour = None if purge.before_ms is None else purge.before_ms // 3_600_000
            self._store.baselines.purge(purge.signal, before_hour)
            self._store.quarantine.clear(purge.signal, purge.before_ms)
            if purge == Purge():
                self._store.seen.clear()
        deleted = sum(self._steps(gone))
        if purge == Purge():
            with self._store.transaction():
                self._store.seen.clear()
            self._layer.look_up_anew()
        if not self._store.truncate_log():
            hint = "end what reads the database (an export, an inspection); the write-ahead log keeps it until then"
            raise RetryableError(
                "another process reads the database: what was forgotten is still in its log", hint=hint
            )
        return deleted

    def _steps(self, gone: list[tuple[KeptBucket, Why]]) -> Iterator[int]:
        self._forgetting.doom(gone)
        yield from self._forgetting.steps()

    def _move_younger(self, kept: KeptBucket, purge: Purge) -> None:
        """What a bucket holds of after the moment goes on under another key; what is damaged goes with the rest."""
        assert purge.before_ms is not None  # noqa: S101 - asked by the caller
        arrival = self._layer.arrival()
        read = [(block, self._store.raw.readable(block)) for block in self._store.raw.dated(kept.id)]
        blocks = [block for block, events in read if events is not None]
        younger = [event for _, events in read for event in events or () if event.time_ms >= purge.before_ms]
        self._layer.close_buckets(kept.bucket)
        grouped = self._layer.bucketed(younger, arrival)
        with self._store.transaction():
            self._layer.keep_ids([self._store.raw.take_out(block) for block in blocks])
            self._layer.append(grouped, arrival)
            self._store.raw.owe_receipt(kept.id, sum(block.events for block in blocks) - len(younger))
