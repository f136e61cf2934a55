"""A correction: an event that came earlier is taken back in every layer that was not released yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.event import EventRefusal, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from discreet_agent.event import Event
    from discreet_agent.steps.deriving import Deriving
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.raw import Block
    from discreet_agent.store.store import Store

_TWICE = Refused(EventRefusal.DUPLICATE, "the event with this id was retracted before")
_GONE = Refused(EventRefusal.RETRACT_FORGOTTEN, "no event of this signal with this id is kept any more to be undone")


class Correcting:
    """Takes events back; every call belongs inside a transaction.

    Many at once: each block is opened and written once, and what must be counted anew is counted once. One by one,
    a single line could keep everybody waiting for minutes.
    """

    def __init__(self, store: Store, layer: RawLayer, deriving: Deriving) -> None:
        self._store = store
        self._layer = layer
        self._deriving = deriving

    def take(self, corrections: Sequence[Event], is_known: Callable[[Event, bytes], bool]) -> list[Refused | None]:
        """Undo the events that corrections name; the outcome of each. One that did not come yet is refused then.

        `is_known`: whether an event with the id that a correction names, and its digest, came in lately.
        """
        digests = [self._layer.digest(correction.sender, correction.retracts or "") for correction in corrections]
        outcomes: dict[int, Refused | None] = {}
        undone: list[Event] = []
        for block_id, indices in self._held(corrections, digests).items():
            named = [(index, corrections[index]) for index in indices if index not in outcomes]
            undone += self._take_out(self._store.raw.block(block_id), named, digests, outcomes)
        self._count("events_retracted", list(outcomes.values()).count(None))
        missing = [index for index in range(len(corrections)) if index not in outcomes]
        for index in missing:
            digest = digests[index]
            outcomes[index] = self._miss(digest, is_known=is_known(corrections[index], digest))
        self._count("events_retracted_before_they_came", [outcomes[index] for index in missing].count(None))
        self._deriving.take_back(undone)
        return [outcomes[index] for index in range(len(corrections))]

    def _held(self, corrections: Sequence[Event], digests: Sequence[bytes]) -> dict[int, list[int]]:
        """Blocks that may hold what is named, and the places of corrections that name it."""
        places: dict[str, dict[bytes, list[int]]] = {}
        for index, correction in enumerate(corrections):
            places.setdefault(correction.signal, {}).setdefault(digests[index], []).append(index)
        return {
            block_id: sorted(index for digest in some for index in of_signal[digest])
            for signal, of_signal in places.items()
            for block_id, some in self._store.raw.holding(list(of_signal), signal).items()
        }

    def _take_out(
        self,
        block: Block,
        named: Sequence[tuple[int, Event]],
        digests: Sequence[bytes],
        outcomes: dict[int, Refused | None],
    ) -> list[Event]:
        """Take what is named out of a block; returns what was counted of it, and notes outcomes."""
        events = self._store.raw.readable(block) or []
        here = {(event.id, event.sender) for event in events}
        gone: set[tuple[str | None, str]] = set()
        for index, correction in named:
            name = (correction.retracts, correction.sender)
            if name in here:
                outcomes[index] = self._remember(digests[index])
                if outcomes[index] is None:
                    gone.add(name)
        if gone:
            kept = [event for event in events if (event.id, event.sender) not in gone]
            self._store.raw.replace([block], kept)
        return [] if block.undated else [event for event in events if (event.id, event.sender) in gone]

    def _miss(self, digest: bytes, *, is_known: bool) -> Refused | None:
        """The outcome where no event is there."""
        if is_known:
            return _TWICE if self._store.seen.is_retracted(digest) else _GONE
        return self._remember(digest)

    def _remember(self, digest: bytes) -> Refused | None:
        is_new = self._store.seen.retract(digest, self._layer.clock.now_ms() // 1000)
        return None if is_new else _TWICE

    def _count(self, counter: str, times: int) -> None:
        if times:
            self._store.count(counter, by=times)
