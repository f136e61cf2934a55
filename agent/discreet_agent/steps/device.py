"""What every step is given: this device's secret, policy, clock, owner's word and owner's limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from discreet_agent.trials.facts import Facts
from discreet_contract.accounting import Caps, cap_to_nano

if TYPE_CHECKING:
    from discreet_agent.consent import Consent
    from discreet_contract.clock import Clock
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.release import VerifiedPolicy


@dataclass(frozen=True, slots=True)
class Limits:
    """What this machine's owner lets the agent take; never more than the policy does."""

    max_database_bytes: int = 512 * 1024 * 1024
    deny_signals: tuple[str, ...] = ()  # whatever the policy says, these are not recorded
    max_epsilon: tuple[float | None, float | None, float | None] = (None, None, None)  # 28 days, 365 days, lifetime


DEFAULT_LIMITS = Limits()
NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Device:
    """What makes this device this device."""

    secret: bytes
    policy: VerifiedPolicy
    clock: Clock
    consent: Consent
    limits: Limits = DEFAULT_LIMITS
    facts: Facts = NO_FACTS

    @property
    def rules(self) -> Policy:
        """The policy in force, as the language says it."""
        return self.policy.policy

    @property
    def silenced(self) -> frozenset[str]:
        """Signals that are declared and not taken: stopped by the policy, or denied by the owner."""
        return frozenset((*self.rules.kill.signals, *self.limits.deny_signals))

    @property
    def caps(self) -> Caps:
        """Caps on ε in nano-ε: the policy's, or the owner's where these are lower."""
        budget = self.rules.budget
        asked = (budget.per_28_days, budget.per_365_days, budget.lifetime)
        pairs = zip(asked, self.limits.max_epsilon, strict=True)
        return Caps(*(cap_to_nano(cap if most is None else min(cap, most)) for cap, most in pairs))

    @property
    def why_off(self) -> str | None:
        """Why nothing may be recorded or sent, or None where it may."""
        return self.consent.refusal(self.rules)


def without_killed(policy: VerifiedPolicy) -> VerifiedPolicy:
    """The policy without the metrics that it stops itself: they make no report, and begin anew when it says so."""
    killed = set(policy.policy.kill.metrics)
    return replace(policy, plans={name: plan for name, plan in policy.plans.items() if name not in killed})
