"""What leaves a running agent: reports that are due, and those that the aggregator asks for again."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import structlog

from discreet_agent.link import IN_FLIGHT
from discreet_agent.publish import Courier

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from discreet_agent.link import MqttLink
    from discreet_agent.pipeline import Pipeline
    from discreet_agent.publish import Handed
    from discreet_contract.clock import Clock
    from discreet_contract.resend import ResendRefusal

MOST_UNREAD = 128  # of 64 kB at most

log = structlog.get_logger()


class Mailbox:
    """Messages from the connection's thread, for the loop's: no more wait than `MOST_UNREAD`, however fast they come.

    What finds no room is dropped. Of receipts that is no loss: the report is sent again, and answered again.
    """

    def __init__(self, read: Callable[[bytes], None]) -> None:
        self._read = read
        self._unread: deque[bytes] = deque()

    def put(self, message: bytes, loop: AbstractEventLoop) -> None:
        """In the connection's thread."""
        if len(self._unread) < MOST_UNREAD:
            self._unread.append(message)
            loop.call_soon_threadsafe(self._take)

    def _take(self) -> None:
        self._read(self._unread.popleft())


class Dispatch:
    """One device's way out; `tick` in the loop, `hear` from any thread."""

    def __init__(self, pipeline: Pipeline, clock: Clock, resend_seconds: float) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._courier = Courier(resend_seconds)
        self._handed: list[Handed] = []  # to the broker, and not on record yet
        self._asked: bytes | None = None  # the aggregator's request, not judged yet; only the latest counts
        self._last_refused: bytes | None = None  # counted once, judged at each tick
        self._told: set[ResendRefusal] = set()  # since one was obeyed: whoever may write there fills no journal
        self.refused: Counter[ResendRefusal] = Counter()  # requests; not written down yet

    def hear(self, content: bytes) -> None:
        """A request to send again; judged at the next tick."""
        self._asked = content

    def tick(self, link: MqttLink) -> None:
        """Do what was asked, and send what is due. Broken off, it is gone on with at the next."""
        self._obey()
        if not link.connected:
            return
        self._note_sent()  # what a full disk did not take: until it is on record, nothing goes out again
        rows = self._pipeline.publishable(10 * IN_FLIGHT)
        self._handed = self._courier.send(rows, link, self._clock.now_ms(), self._pipeline.expiry_seconds)
        self._note_sent()

    def _obey(self) -> None:
        asked = self._asked
        if asked is not None:
            refusal = self._pipeline.hear_resend(asked)
            is_over = refusal is None or not refusal.may_pass  # the topic is retained: it comes once a connection
            if self._asked is asked and is_over:  # else a newer one came meanwhile
                self._asked = None
            if refusal is None:
                self._told.clear()
            elif asked is not self._last_refused:
                self._last_refused = asked
                self._refuse(refusal)
        again = self._pipeline.resend()
        if again:
            log.info("sending again, as the aggregator asked", reports=again)

    def _refuse(self, reason: ResendRefusal) -> None:
        self.refused[reason] += 1
        if reason not in self._told:
            self._told.add(reason)
            log.warning("request to send again refused", reason=reason, next_step="look who may write this topic")

    def _note_sent(self) -> None:
        self._pipeline.note_sent(self._handed)
        self._handed = []
