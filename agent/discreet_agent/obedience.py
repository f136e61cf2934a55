"""Which policy this device obeys: from the file or the broker, then on disk, then in force, then in the trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from discreet_agent.policies import in_force
from discreet_contract.errors import RetryableError

if TYPE_CHECKING:
    from discreet_agent.device import OpenDevice
    from discreet_agent.policies import Policies
    from discreet_contract.clock import Clock
    from discreet_contract.policy.model import Policy

log = structlog.get_logger()


class Obedience:
    """Keeps one device's pipeline under the newest policy that may be obeyed."""

    def __init__(self, policies: Policies, device: OpenDevice, clock: Clock) -> None:
        self._policies = policies
        self._device = device
        self._clock = clock
        self._in_force = policies.obeyed.policy
        self._delivered: bytes | None = None  # by the broker, not judged yet; only the latest counts
        self._next_judgement_ms = 0

    @property
    def policy(self) -> Policy:
        """What is in force."""
        return self._in_force.policy

    def arrived(self, content: bytes) -> None:
        """Something was delivered, in whatever thread; judged at the next tick, so that a flood costs one a second."""
        self._delivered = content

    def obey_newer(self) -> bool:
        """Take a newer policy, if there is one; whether another one is in force now."""
        self._policies.look()
        self._judge_delivered()
        newest = self._policies.obeyed.policy
        is_new = False
        try:
            self._policies.keep()
            if newest.digest != self._in_force.digest:
                self._device.pipeline.adopt(newest)
                self._in_force, is_new = newest, True
                log.info("policy in force", version=self.policy.version, source=self._policies.source)
            self._write_trail()
        except RetryableError as exc:
            log.warning("policy not noted yet, trying again", problem=str(exc), next_step=exc.hint)
        return is_new

    def _judge_delivered(self) -> None:
        """One delivery at a time, and so rarely that judging junk takes no more than a tenth of the time."""
        began_ms = self._clock.boot_ms()
        if self._delivered is None or began_ms < self._next_judgement_ms:
            return
        delivered, self._delivered = self._delivered, None
        before = self._policies.refusal
        self._policies.offer(delivered, "broker")
        ended_ms = self._clock.boot_ms()
        self._next_judgement_ms = ended_ms + 10 * (ended_ms - began_ms)
        refusal = self._policies.refusal
        if refusal is not None and (before is None or refusal.reason is not before.reason):
            log.warning("policy refused, the last good one stays in force", problem=refusal.text)

    def _write_trail(self) -> None:
        """What the trail does not say yet: the policy in force since a start or a change."""
        obeyed, store = self._policies.obeyed, self._device.store
        last = store.trail.last()
        if last is not None and last.policy_hash == obeyed.policy.digest:
            return
        with store.transaction():
            store.trail.append(in_force(obeyed, self._policies.source, self._clock.now_ms()))
