"""What leaves a running agent: reports that are due, and those that the aggregator asks for again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from discreet_agent.link import IN_FLIGHT
from discreet_agent.publish import Courier

if TYPE_CHECKING:
    from discreet_agent.link import MqttLink
    from discreet_agent.pipeline import Pipeline
    from discreet_agent.publish import Handed
    from discreet_contract.clock import Clock
    from discreet_contract.resend import ResendRefusal

log = structlog.get_logger()


class Dispatch:
    """One device's way out; `tick` in the loop, `hear` from any thread."""

    def __init__(self, pipeline: Pipeline, clock: Clock, resend_seconds: float) -> None:
        self._pipeline = pipeline
        self._clock = clock
        self._courier = Courier(resend_seconds)
        self._handed: list[Handed] = []  # to the broker, and not on record yet
        self._asked: bytes | None = None  # the aggregator's request, not judged yet; only the latest counts
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
            if self._asked is asked:  # else a newer one came meanwhile
                self._asked = None
            if refusal is not None:
                self.refused[refusal] += 1
                log.warning("request to send again refused", reason=refusal, next_step="look who may write this topic")
        again = self._pipeline.resend()
        if again:
            log.info("sending again, as the aggregator asked", reports=again)

    def _note_sent(self) -> None:
        self._pipeline.note_sent(self._handed)
        self._handed = []
