"""Group commit: what several senders said within a few milliseconds is stored with one commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_agent.event import Batch, Refused

    RecordGroup = Callable[[Sequence[Batch]], Sequence[Refused | None]]

GROUP_EVENTS = 1000  # a group this large is committed at once
GROUP_SECONDS = 0.005  # a smaller one after this wait


class GroupCommit:
    """Gathers batches; `record` stores a group and says of each item, in order, None or why it was refused."""

    def __init__(self, record: RecordGroup) -> None:
        self._record = record
        self._pending: list[tuple[Batch, asyncio.Future[Sequence[Refused | None]]]] = []
        self._pending_events = 0
        self._flush_handle: asyncio.TimerHandle | None = None

    async def commit(self, batch: Batch) -> Sequence[Refused | None]:
        """Store a batch with the next group; returns after the commit."""
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[Sequence[Refused | None]] = loop.create_future()
        self._pending.append((batch, stored))
        self._pending_events += len(batch.items)
        if self._pending_events >= GROUP_EVENTS:
            self.flush()
        elif self._flush_handle is None:
            self._flush_handle = loop.call_later(GROUP_SECONDS, self.flush)
        return await stored

    def flush(self) -> None:
        """Commit everything that waits."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        group, self._pending, self._pending_events = self._pending, [], 0
        if not group:
            return
        outcomes = self._record([batch for batch, _ in group])
        start = 0
        for batch, stored in group:
            end = start + len(batch.items)
            if not stored.done():  # a request whose client has gone may have been cancelled
                stored.set_result(outcomes[start:end])
            start = end
