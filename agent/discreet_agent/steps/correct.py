"""A correction: an event that came earlier is taken back in every layer that was not released yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.event import Event, EventRefusal, Refused

if TYPE_CHECKING:
    from discreet_agent.steps.deriving import Deriving
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.raw import Block
    from discreet_agent.store.store import Store

_TWICE = Refused(EventRefusal.DUPLICATE, "the event with this id was retracted before")
_GONE = Refused(EventRefusal.RETRACT_FORGOTTEN, "no event of this signal with this id is kept any more to be undone")


class Correcting:
    """Takes events back; every call belongs inside a transaction."""

    def __init__(self, store: Store, layer: RawLayer, deriving: Deriving) -> None:
        self._store = store
        self._layer = layer
        self._deriving = deriving

    def take(self, correction: Event, *, is_known: bool) -> Refused | None:
        """Undo the event that `correction.retracts` names. One that did not come yet is refused when it comes.

        `is_known`: whether an event with that id came in lately.
        """
        if correction.retracts is None:
            raise ValueError("not a correction")
        digest = self._layer.digest(correction.sender, correction.retracts)
        found = self._find(correction, digest)
        if found is None and is_known:
            return _TWICE if self._store.seen.is_retracted(digest) else _GONE
        if not self._store.seen.retract(digest, self._layer.clock.now_ms() // 1000):
            return _TWICE
        if found is not None:
            self._undo(*found)
        self._store.count("events_retracted" if found else "events_retracted_before_they_came")
        return None

    def _find(self, correction: Event, digest: bytes) -> tuple[Block, list[Event], Event] | None:
        for block in self._store.raw.holding(digest, correction.signal):
            events = self._store.raw.readable(block) or []
            for event in events:
                if (event.id, event.sender) == (correction.retracts, correction.sender):
                    return block, events, event
        return None

    def _undo(self, block: Block, events: list[Event], event: Event) -> None:
        was_counted = not block.undated
        self._store.raw.replace([block], [kept for kept in events if kept is not event])
        if was_counted:
            self._deriving.take_back(event)
