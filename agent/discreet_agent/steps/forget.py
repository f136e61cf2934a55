"""Time passes: what has outlived its retention goes, in small steps between which events are received.

Raw events: the bucket is marked, its key is destroyed, its blocks are deleted some at a time, and a receipt is
written. Then all that is derived, then the freed pages and the write-ahead log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.known_ids import WINDOW_SECONDS
from discreet_agent.schedule import give_up_before
from discreet_agent.store.deletions import Deletion, Why
from discreet_agent.store.keys import fingerprint
from discreet_contract.durations import grain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from discreet_agent.budget_clock import BudgetClock
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.enriched import Enriched
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.steps.sending import Sending
    from discreet_agent.store.raw import KeptBucket
    from discreet_agent.store.store import Store

STEP_BYTES = 262_144  # deleted in one transaction: a few milliseconds, overwriting included
STEP_PAGES = 64  # given back to the file system in one
LONGEST_PASS_SECONDS = 60


class Forgetting:
    """Forgets under one policy after another."""

    def __init__(
        self, device: Device, store: Store, layer: RawLayer, enriched: Enriched, sending: Sending, time: BudgetClock
    ) -> None:
        self._store = store
        self._layer = layer
        self._enriched = enriched
        self._sending = sending
        self._time = time
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self._plans = device.policy.plans

    @property
    def pass_seconds(self) -> int:
        """How often to look for what is over: in time for the shortest retention."""
        return min([LONGEST_PASS_SECONDS, *(grain(kept) for kept in self._layer.retention.values())])

    def steps(self) -> Iterator[int]:
        """One pass, step by step; each yields how many raw events it forgot. May be left off anywhere."""
        self.doom(self._over())
        yield 0
        yield from self._delete_doomed()
        self._forget_derived()
        yield 0
        yield from self._sending.give_up_old(self._time.now_ms())
        while self._store.give_back(STEP_PAGES):
            yield 0
        self._store.truncate_log()

    # --- raw events ------------------------------------------------------------------------

    def _over(self) -> list[tuple[KeptBucket, Why]]:
        """Buckets to forget now, and why: before the next pass they would have outlived their retention."""
        soon = self._layer.clock.now_ms() // 1000 + self.pass_seconds
        over: list[tuple[KeptBucket, Why]] = []
        kept: list[KeptBucket] = []
        for bucket in self._store.raw.buckets():
            why = self._why(bucket, soon)
            if bucket.doomed is None and why is not None:
                over.append((bucket, why))
            elif bucket.doomed is None:
                kept.append(bucket)
        return over + self._beyond_the_cap(kept, sum(bucket.bytes for bucket, _ in over))

    def _why(self, kept: KeptBucket, soon: int) -> Why | None:
        if self._store.keys.find(kept.bucket) is None:
            return Why.KEY_LOST
        retention = self._layer.retention.get(kept.bucket.signal)
        if retention is None:
            return Why.POLICY
        return Why.EXPIRED if kept.bucket.start + min(retention, kept.kept_seconds) <= soon else None

    def _beyond_the_cap(self, kept: Iterable[KeptBucket], freed: int) -> list[tuple[KeptBucket, Why]]:
        """Oldest buckets first, until the database is within its cap; ledger and outbox are never touched."""
        excess = self._store.used_bytes() - freed - self._device.limits.max_database_bytes
        given_up: list[tuple[KeptBucket, Why]] = []
        for bucket in kept:
            if excess <= 0:
                break
            excess -= bucket.bytes
            given_up.append((bucket, Why.DATABASE_FULL))
        return given_up

    def doom(self, over: list[tuple[KeptBucket, Why]]) -> None:
        """Mark the buckets, then destroy their keys; also of those that were marked before a kill."""
        keys = self._store.keys
        if over:
            with self._store.transaction():
                for kept, why in over:
                    key = keys.find(kept.bucket)
                    self._store.raw.doom(kept.id, why, None if key is None else fingerprint(key))
            self._layer.close_buckets()
        listed = self._store.raw.buckets()
        doomed = {kept.bucket for kept in listed if kept.doomed is not None}
        unused = keys.buckets() - {kept.bucket for kept in listed}
        old = self._layer.clock.now_ms() // 1000 - 86_400
        keys.destroy(doomed | {bucket for bucket in unused if bucket.start + bucket.length < old})

    def _delete_doomed(self) -> Iterator[int]:
        for kept in self._store.raw.buckets():
            if kept.doomed is None:
                continue
            while True:
                with self._store.transaction():
                    gone = self._store.raw.delete_some(kept.id, STEP_BYTES)
                    if gone is None:
                        self._write_receipt(kept)
                        break
                    self._layer.keep_ids(gone)
                    self._store.count("events_never_dated", by=sum(block.undated for block in gone))
                yield 0
            yield kept.events

    def _write_receipt(self, kept: KeptBucket) -> None:
        signal, start, length, _ = kept.bucket
        now_ms = self._device.clock.now_ms()
        assert kept.doomed is not None  # noqa: S101 - asked by the caller
        self._store.deletions.add(
            Deletion(now_ms, "raw", signal, start, length, kept.events, kept.doomed, kept.key_fingerprint)
        )
        expired = kept.doomed == Why.EXPIRED
        self._store.count(
            "events_forgotten" if expired else "events_given_up", "" if expired else kept.doomed, kept.events
        )

    # --- what is derived -------------------------------------------------------------------

    def _forget_derived(self) -> None:
        policy = self._device.rules
        now_ms = self._time.now_ms()
        self._enriched.prepare()
        with self._store.transaction():
            self._enriched.forget()
            self._store.tallies.keep_only(self._plans)
            for plan in self._plans.values():
                too_late = give_up_before(policy, plan, now_ms)
                self._store.tallies.drop(plan.name, too_late - 1)  # kept this long only where no key was valid
                self._store.ledger.forget_refusals(plan.name, too_late)
            self._store.quarantine.forget(self._layer.clock.now_ms() // 1000)
            dropped = self._store.seen.forget(self._layer.clock.now_ms() // 1000 - WINDOW_SECONDS)
            self._store.count("retractions_forgotten_early", by=dropped)
            self._layer.save_clock()
        self._layer.forget_ids()
