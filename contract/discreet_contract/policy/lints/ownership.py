"""Who answers for it, and until when."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from discreet_contract.policy.lints.table import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.lints.table import Finding
    from discreet_contract.policy.model import Policy

EXPIRES_SOON_DAYS = 30
EXPIRES_FAR_DAYS = 2 * 365
KEY_ENDS_SOON_DAYS = 30
WHY_WORDS = 5


@rule
def expired(policy: Policy, today: date) -> Iterator[Finding]:
    """A signal's `expires` has passed: its approval is over."""
    for name, signal in policy.signals.items():
        if date.fromisoformat(signal.expires) <= today:
            yield ("signals", name, "expires"), f"expired on {signal.expires}; review it again or remove the signal"


@rule
def expires_soon(policy: Policy, today: date) -> Iterator[Finding]:
    """A signal's approval ends within thirty days; a release takes time to reach every device."""
    for name, signal in policy.signals.items():
        if today < date.fromisoformat(signal.expires) <= today + timedelta(days=EXPIRES_SOON_DAYS):
            yield ("signals", name, "expires"), f"expires within {EXPIRES_SOON_DAYS} days; review it now"


@rule
def expires_far(policy: Policy, today: date) -> Iterator[Finding]:
    """A signal's `expires` is so far off that nobody will look at it again."""
    for name, signal in policy.signals.items():
        if date.fromisoformat(signal.expires) > today + timedelta(days=EXPIRES_FAR_DAYS):
            yield ("signals", name, "expires"), f"expires more than {EXPIRES_FAR_DAYS} days from now; review sooner"


@rule
def why_short(policy: Policy, _today: date) -> Iterator[Finding]:
    """A `why` of fewer than five words explains nothing."""
    reasons = {("signals", name, "why"): signal.why for name, signal in policy.signals.items()}
    reasons |= {("metrics", name, "why"): metric.why for name, metric in policy.metrics.items()}
    for path, why in reasons.items():
        if len(why.split()) < WHY_WORDS:
            yield path, "say why it is collected and how it is read"


@rule
def owner_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """An owner that nobody can write to."""
    owners = {("signals", name, "owner"): signal.owner for name, signal in policy.signals.items()}
    owners |= {("metrics", name, "owner"): metric.owner for name, metric in policy.metrics.items()}
    owners |= {("experiments", name, "owner"): trial.owner for name, trial in policy.experiments.items()}
    for path, owner in owners.items():
        if "@" not in owner:
            yield path, "an owner is an address that somebody reads"


@rule
def review_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """A sensitive signal that does not say where it was approved."""
    for name, signal in policy.signals.items():
        if signal.sensitivity == "sensitive" and not signal.review.strip():
            yield ("signals", name), "sensitive, and no `review` says where it was approved"


@rule
def author_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """A release by nobody who can be asked."""
    if "@" not in policy.release.author:
        yield ("release", "author"), "an author is an address that somebody reads"


@rule
def reason_short(policy: Policy, _today: date) -> Iterator[Finding]:
    """A release whose reason has fewer than three words."""
    if len(policy.release.reason.split()) < 3:
        yield ("release", "reason"), "say what this version changes, and why"


@rule
def key_ends(policy: Policy, today: date) -> Iterator[Finding]:
    """No aggregator key is valid thirty days from now: devices would have nothing to seal to."""
    soon = (today + timedelta(days=KEY_ENDS_SOON_DAYS)).isoformat()
    if not any(key.from_ <= soon < key.until for key in policy.aggregator.keys):
        yield ("aggregator", "keys"), f"no key is valid on {soon}; add one with `discreet aggregator keys new`"
