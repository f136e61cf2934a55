"""What is made of events: tallies of open windows, buckets of features. The same events, once, for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_agent.tally import group_by_signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_agent.event import Event
    from discreet_agent.steps.features import Featuring
    from discreet_agent.steps.tallying import Tallying


class Deriving:
    """Hands counted events on; every call but `prepare` belongs inside a transaction."""

    def __init__(self, tallying: Tallying, featuring: Featuring) -> None:
        self._tallying = tallying
        self._featuring = featuring

    def prepare(self) -> None:
        """What needs a transaction of its own, before the one that brings in or takes back events."""
        self._featuring.prepare()

    def marked(self, events: Sequence[Event]) -> Sequence[Event]:
        """See `Tallying.marked`; before they are stored."""
        return self._tallying.marked(events)

    def take(self, events: Sequence[Event]) -> None:
        """Count events."""
        groups = group_by_signal(events)
        self._tallying.take(groups)
        self._featuring.take(groups)

    def take_back(self, events: Sequence[Event]) -> None:
        """Undo events that were counted and are no longer in the raw log."""
        self._tallying.take_back(events)
        self._featuring.take_back(events)
