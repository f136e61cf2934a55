"""What every step is given: this device's secret, policy, clock and owner's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discreet_agent.consent import Consent
    from discreet_contract.clock import Clock
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.release import VerifiedPolicy


@dataclass(frozen=True, slots=True)
class Limits:
    """What this machine's owner lets the agent take."""

    max_database_bytes: int = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Device:
    """What makes this device this device."""

    secret: bytes
    policy: VerifiedPolicy
    clock: Clock
    consent: Consent
    limits: Limits = Limits()

    @property
    def rules(self) -> Policy:
        """The policy in force, as the language says it."""
        return self.policy.policy

    @property
    def why_off(self) -> str | None:
        """Why nothing may be recorded or sent, or None where it may."""
        return self.consent.refusal(self.rules)
