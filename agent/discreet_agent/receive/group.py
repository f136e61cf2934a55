"""Group commit: what several senders said within a few milliseconds is stored with one commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_agent.event import Batch, Refused

    Outcomes: TypeAlias = Sequence[Refused | None]
    RecordGroup = Callable[[Sequence[Batch]], Outcomes]
    _Waiting: TypeAlias = tuple[Batch, Callable[[Outcomes], None], int]

GROUP_EVENTS = 2000  # a group this large is committed at once,
GROUP_BYTES = 1_048_576  # or this large (decoded it may take twenty times as much),
GROUP_SECONDS = 0.005  # a smaller one after this wait, counted from the last commit


class GroupCommit:
    """Gathers batches; `record` stores a group and says of each item, in order, None or why it was refused."""

    def __init__(self, record: RecordGroup) -> None:
        self._record = record
        self._pending: list[_Waiting] = []
        self._pending_events = self._pending_bytes = 0
        self._flush_handle: asyncio.Handle | None = None
        self._is_large = False  # the group that waits is committed in the loop's next turn
        self._flushed = 0.0  # loop time of the last commit

    def take(self, batch: Batch, tell: Callable[[Outcomes], None], size: int = 0) -> None:
        """Store a batch of so many bytes with the next group; `tell` is called after the commit, at once if need be."""
        self._pending.append((batch, tell, size))
        self._pending_events += len(batch.items)
        self._pending_bytes += size
        if self._pending_bytes >= GROUP_BYTES:
            self.flush()
        elif not self._is_large:
            self._schedule()

    def _schedule(self) -> None:
        """A large group goes in the loop's next turn, others being heard in between; a small one waits."""
        loop = asyncio.get_running_loop()
        self._is_large = self._pending_events >= GROUP_EVENTS
        if self._is_large:
            self._cancel()
            self._flush_handle = loop.call_soon(self._flush_group)
        elif self._flush_handle is None:
            self._flush_handle = loop.call_at(max(self._flushed + GROUP_SECONDS, loop.time()), self._flush_group)

    async def commit(self, batch: Batch) -> Outcomes:
        """Store a batch with the next group; returns after the commit."""
        stored: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        # A request whose client has gone may have been cancelled.
        self.take(batch, lambda outcomes: None if stored.done() else stored.set_result(outcomes))
        return await stored

    def flush(self) -> None:
        """Commit everything that waits."""
        while self._pending:
            self._flush_group()

    def _flush_group(self) -> None:
        """Commit one group; what is left has its own turn."""
        self._cancel()
        self._is_large = False
        group = self._next_group()
        if not group:
            return
        try:
            self._tell(group, self._record([batch for batch, _, _ in group]))
        finally:
            self._flushed = asyncio.get_running_loop().time()
            if self._pending:
                self._schedule()

    def _next_group(self) -> list[_Waiting]:
        events, until = 0, 0
        while until < len(self._pending) and events < GROUP_EVENTS:
            events += len(self._pending[until][0].items)
            until += 1
        group, self._pending = self._pending[:until], self._pending[until:]
        self._pending_events -= events
        self._pending_bytes -= sum(size for _, _, size in group)
        return group

    def _cancel(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None

    @staticmethod
    def _tell(group: Sequence[_Waiting], outcomes: Outcomes) -> None:
        start = 0
        for batch, tell, _ in group:
            end = start + len(batch.items)
            tell(outcomes[start:end])
            start = end
