"""The aggregator's word for what time it is, from the connection's thread to the loop."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog

from discreet_contract.beacon import BeaconRefusal, read_beacon
from discreet_contract.errors import SignatureRefusedError

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy

log = structlog.get_logger()


class SignedTime:
    """`hear` from any thread, `take` in the loop. One that the broker had kept says that its time has come."""

    def __init__(self) -> None:
        self._heard: bytes | None = None  # not judged yet; only the latest counts
        self._told: set[BeaconRefusal] = set()  # since one was believed: whoever may write there fills no journal
        self.refused: Counter[BeaconRefusal] = Counter()  # not written down yet

    def hear(self, content: bytes) -> None:
        """A beacon; judged when it is taken."""
        self._heard = content

    def take(self, policy: Policy) -> int | None:
        """The time (ms) that was heard since the last call, under the keys of this policy; None where none was."""
        heard, self._heard = self._heard, None
        if heard is None:
            return None
        try:
            time_ms = read_beacon(heard, policy.fleet, policy.aggregator.keys)
        except SignatureRefusedError as exc:
            self._refuse(BeaconRefusal(exc.rule), exc)
            return None
        self._told.clear()
        return time_ms

    def _refuse(self, reason: BeaconRefusal, exc: SignatureRefusedError) -> None:
        self.refused[reason] += 1
        if reason not in self._told:
            self._told.add(reason)
            log.warning("signed time refused", problem=str(exc), next_step=exc.hint)
