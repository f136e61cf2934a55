"""Small blocks of raw events become large ones when their hour is over: fewer rows, better compressed.

Under a slow trickle every commit is a block of a few events; unmerged they would fill the file with nonces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.store.keys import DamagedBlockError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_agent.event import Event
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.raw import Block, KeptBucket
    from discreet_agent.store.store import Store

HOUR_MS = 3_600_000
SMALL_BYTES = 16_384
FEW_BLOCKS = 8  # not worth a rewriting
MOST_EVENTS = 2000  # of one merged block, so that a step stays short
MOST_BYTES = 131_072


class Merging:
    """Merges once for each hour that closes."""

    def __init__(self, store: Store, layer: RawLayer) -> None:
        self._store = store
        self._layer = layer
        self._merged_hour = -1

    def steps(self) -> Iterator[int]:
        """One pass, step by step, if an hour has closed since the last one; yields how many blocks went."""
        hour = self._layer.clock.now_ms() // HOUR_MS
        if hour == self._merged_hour:
            return
        for kept in self._store.raw.buckets():
            if kept.doomed is None and kept.blocks >= FEW_BLOCKS and kept.bytes < kept.blocks * SMALL_BYTES:
                yield from self._merge(kept, before=hour * HOUR_MS // 1000)
        self._merged_hour = hour

    def _merge(self, kept: KeptBucket, before: int) -> Iterator[int]:
        """Only what came in before this hour began."""
        group: list[Block] = []
        events = size = 0
        for block in self._store.raw.small(kept.id, SMALL_BYTES, before):
            if events + block.events > MOST_EVENTS or size + block.bytes > MOST_BYTES:
                yield self._put_together(group)
                group, events, size = [], 0, 0
            group.append(block)
            events, size = events + block.events, size + block.bytes
        if len(group) >= FEW_BLOCKS:
            yield self._put_together(group)

    def _put_together(self, group: list[Block]) -> int:
        """Merge blocks, unless one of them is damaged: it is left alone until it is forgotten."""
        if len(group) < 2:
            return 0
        try:
            events: list[Event] = [event for block in group for event in self._store.raw.open(block)]
        except DamagedBlockError:
            return 0
        with self._store.transaction():
            self._store.raw.replace(group, events)
        return len(group)
