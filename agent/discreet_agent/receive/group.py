"""Group commit: what several senders said within a few milliseconds is stored with one commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_agent.event import Batch, Refused

    Outcomes: TypeAlias = Sequence[Refused | None]
    RecordGroup = Callable[[Sequence[Batch]], Outcomes]

GROUP_EVENTS = 1000  # a group this large is committed at once,
GROUP_BYTES = 1_048_576  # or this large (decoded it may take twenty times as much),
GROUP_SECONDS = 0.005  # a smaller one after this wait


class GroupCommit:
    """Gathers batches; `record` stores a group and says of each item, in order, None or why it was refused."""

    def __init__(self, record: RecordGroup) -> None:
        self._record = record
        self._pending: list[tuple[Batch, Callable[[Outcomes], None]]] = []
        self._pending_events = self._pending_bytes = 0
        self._flush_handle: asyncio.TimerHandle | None = None

    def take(self, batch: Batch, tell: Callable[[Outcomes], None], size: int = 0) -> None:
        """Store a batch of so many bytes with the next group; `tell` is called after the commit, at once if need be."""
        self._pending.append((batch, tell))
        self._pending_events += len(batch.items)
        self._pending_bytes += size
        if self._pending_events >= GROUP_EVENTS or self._pending_bytes >= GROUP_BYTES:
            self.flush()
        elif self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(GROUP_SECONDS, self.flush)

    async def commit(self, batch: Batch) -> Outcomes:
        """Store a batch with the next group; returns after the commit."""
        stored: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        # A request whose client has gone may have been cancelled.
        self.take(batch, lambda outcomes: None if stored.done() else stored.set_result(outcomes))
        return await stored

    def flush(self) -> None:
        """Commit everything that waits."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        group, self._pending, self._pending_events, self._pending_bytes = self._pending, [], 0, 0
        if not group:
            return
        outcomes = self._record([batch for batch, _ in group])
        start = 0
        for batch, tell in group:
            end = start + len(batch.items)
            tell(outcomes[start:end])
            start = end
