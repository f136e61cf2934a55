"""A device's ledger, judged from nothing but its rows, the policies they name and the head: for device and auditor.

Everything is worked out again: the chain, what each charge should have been under its policy,
and every cap over every span, row by row in the order of booking. An honest ledger gives no finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from discreet_contract.accounting import EMPTY_LEDGER, NANO, Caps, Debit, LedgerHead, cap_to_nano, check_caps
from discreet_contract.policy.bundle import read_bundle
from discreet_contract.policy.compile import canonical_json, policy_hash
from discreet_contract.policy.plan import plan_metrics
from discreet_contract.policy.release import read_unverified

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from discreet_contract.accounting import LedgerEntry
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan


class Flaw(StrEnum):
    """What can be wrong with a ledger. A closed list, documented in docs/auditing.md."""

    CHAIN = "CHAIN"
    HEAD = "HEAD"
    TWICE = "TWICE"
    POLICY_UNKNOWN = "POLICY_UNKNOWN"
    METRIC_UNKNOWN = "METRIC_UNKNOWN"
    WINDOW = "WINDOW"
    EARLY = "EARLY"
    MECHANISM = "MECHANISM"
    CHARGE = "CHARGE"
    TURN = "TURN"
    CAP = "CAP"


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw: in which row (0: in the ledger as a whole), and what was found."""

    sequence: int
    flaw: Flaw
    found: str

    def __str__(self) -> str:
        return f"row {self.sequence}: {self.flaw}: {self.found}" if self.sequence else f"{self.flaw}: {self.found}"


def read_policies(contents: Iterable[bytes]) -> dict[bytes, Policy]:
    """Policies by their hash, from bundles or signed policies. Raises SignatureRefusedError for anything else.

    Who signed them is not asked: a row names the hash of exactly the contents it was charged under.
    """
    known = {}
    for content in contents:
        is_bundle = content.lstrip().startswith(b'{"bundle"')
        policy = read_unverified(read_bundle(content).entry() if is_bundle else content)
        known[policy_hash(canonical_json(policy))] = policy
    return known


def verify_ledger(
    entries: Iterable[LedgerEntry], policies: Mapping[bytes, Policy], head: LedgerHead | None = None
) -> list[Finding]:
    """Everything that is wrong, in order of rows. `head` is what was kept outside the database; None where it is lost.

    A ledger may be longer than its head: its device was killed, or copied, before the head followed.
    """
    rows = list(entries)
    rules = {digest: _Rules(policy) for digest, policy in policies.items()}
    findings = list(_check_chain(rows))
    if head is not None:
        findings += _check_head(rows, head)
    booked = _Booked({}, [], set())
    for entry in rows:
        findings += _check_row(entry, booked, rules.get(entry.policy_hash))
        booked.add(entry)
    return sorted(findings, key=lambda finding: finding.sequence)


@dataclass(frozen=True, slots=True)
class _Booked:
    """The rows before the one that is judged."""

    windows: dict[int, list[LedgerEntry]]  # by start
    debits: list[Debit]
    paid: set[tuple[str, str]]  # memoised metrics whose lifetime is charged: name and version

    def add(self, entry: LedgerEntry) -> None:
        """Count one more row."""
        self.windows.setdefault(entry.window_start, []).append(entry)
        self.debits.append(Debit(entry.window_start, entry.nano))


class _Rules:
    """What one policy says of charges."""

    def __init__(self, policy: Policy) -> None:
        budget = policy.budget
        self.plans = plan_metrics(policy)
        self.killed = frozenset(policy.kill.metrics)
        self.caps = Caps(*map(cap_to_nano, (budget.per_28_days, budget.per_365_days, budget.lifetime)))
        self._charges: dict[str, int] = {}

    def charge(self, plan: MetricPlan) -> int:
        """Nano-ε of one window, from the mechanism's own privacy map; worked out once."""
        if plan.name not in self._charges:
            self._charges[plan.name] = plan.mechanism.charge()
        return self._charges[plan.name]


def _check_chain(rows: Sequence[LedgerEntry]) -> Iterator[Finding]:
    earlier = None
    for entry in rows:
        if not entry.follows(earlier):
            yield Finding(entry.sequence, Flaw.CHAIN, "it does not follow the row before: one was changed or removed")
        earlier = entry


def _check_head(rows: Sequence[LedgerEntry], head: LedgerHead) -> Iterator[Finding]:
    if head == EMPTY_LEDGER:
        return
    named = next((entry for entry in rows if entry.sequence == head.sequence), None)
    if named is None:
        yield Finding(
            0, Flaw.HEAD, f"the head names row {head.sequence}, and the ledger has {len(rows)}: rows are gone"
        )
    elif named.digest() != head.digest:
        yield Finding(head.sequence, Flaw.HEAD, "the head names another row of this number")


def _check_row(entry: LedgerEntry, booked: _Booked, rules: _Rules | None) -> Iterator[Finding]:
    """One row under its policy, beside the rows booked before it."""
    at, name = entry.sequence, f"{entry.metric}, window {entry.window_start}"
    beside = booked.windows.get(entry.window_start, [])
    if any(other.metric == entry.metric for other in beside):
        yield Finding(at, Flaw.TWICE, f"{name} was charged before")
    if entry.charged_at_ms < (entry.window_start + entry.window_seconds) * 1000:
        yield Finding(at, Flaw.EARLY, f"{name} was charged before its window was over, by the device's own clock")
    if rules is None:
        yield Finding(at, Flaw.POLICY_UNKNOWN, f"{name}: no policy with hash {entry.policy_hash.hex()} is given")
        return
    plan = rules.plans.get(entry.metric)
    if plan is None:
        yield Finding(at, Flaw.METRIC_UNKNOWN, f"{name}: its policy has no such metric")
        return
    if plan.name in rules.killed:
        yield Finding(at, Flaw.METRIC_UNKNOWN, f"{name}: its policy stops this metric")
    yield from _check_charge(entry, plan, 0 if (plan.name, plan.version) in booked.paid else rules.charge(plan))
    if plan.metric.is_memoised:
        booked.paid.add((plan.name, plan.version))
    yield from _check_turn(entry, beside, rules)
    refusal = check_caps(booked.debits, rules.caps, Debit(entry.window_start, entry.nano))
    if refusal is not None:
        found = f"{name}: ε {entry.nano / NANO:g} asked, {refusal.spent / NANO:g} spent, {refusal.left / NANO:g} left"
        yield Finding(at, Flaw.CAP, f"{found} under {refusal.cap}")


def _check_charge(entry: LedgerEntry, plan: MetricPlan, charge: int) -> Iterator[Finding]:
    name, length = f"{entry.metric}, window {entry.window_start}", plan.metric.window_seconds
    if entry.window_seconds != length or entry.window_start % length:
        found = f"{name} of {entry.window_seconds} seconds; the policy says {length}, on the grid of the epoch"
        yield Finding(entry.sequence, Flaw.WINDOW, found)
    if entry.mechanism != plan.mechanism.id:
        found = f"{name}: by {entry.mechanism}; the policy says {plan.mechanism.id}"
        yield Finding(entry.sequence, Flaw.MECHANISM, found)
    if entry.nano != charge:
        found = f"{name}: {entry.nano} nano-ε; the mechanism's own map says {charge}"
        yield Finding(entry.sequence, Flaw.CHARGE, found)


def _check_turn(entry: LedgerEntry, beside: Sequence[LedgerEntry], rules: _Rules) -> Iterator[Finding]:
    """One metric of a `rotate` group in a window, as long as the policy is the same."""
    group = rules.plans[entry.metric].metric.rotate
    for other in beside if group is not None else ():
        member = rules.plans.get(other.metric) if other.policy_hash == entry.policy_hash else None
        if other.metric != entry.metric and member is not None and member.metric.rotate == group:
            found = f"{entry.metric} and {other.metric} of {group} both reported in window {entry.window_start}"
            yield Finding(entry.sequence, Flaw.TURN, found)
