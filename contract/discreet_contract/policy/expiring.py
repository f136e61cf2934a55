"""What in a policy ends on a day: approvals of signals, aggregator keys, experiments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy


@dataclass(frozen=True, slots=True, order=True)
class Ending:
    """One thing that ends, and who answers for it ("" where nobody is named)."""

    day: date
    what: str
    owner: str


def find_endings(policy: Policy, until: date) -> list[Ending]:
    """Everything that ends on `until` or before, past days included, soonest first."""
    found = [
        *((signal.expires, f"signal {name}", signal.owner) for name, signal in policy.signals.items()),
        *((key.until, f"aggregator key {key.id}", policy.release.author) for key in policy.aggregator.keys),
        *((trial.end, f"experiment {name}", trial.owner) for name, trial in policy.experiments.items()),
    ]
    endings = [Ending(date.fromisoformat(day), what, owner) for day, what, owner in found]
    return sorted(ending for ending in endings if ending.day <= until)
