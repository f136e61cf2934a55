"""What the agent says of itself, for `status` and the socket's queries: counts and noised values, never raw ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from discreet_agent.outbox_bounds import explain_full
from discreet_contract.accounting import NANO
from discreet_contract.errors import DiscreetError, RetryableError
from discreet_contract.wire import verdict_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from enum import StrEnum

    from discreet_agent.anomaly import Finding
    from discreet_agent.consent import Consent
    from discreet_agent.event import Quarantined
    from discreet_agent.ledger_check import Checked
    from discreet_agent.policies import Policies, Refusal
    from discreet_agent.store.deletions import Deletion
    from discreet_agent.store.head import Halted
    from discreet_agent.store.ledger import Ledger
    from discreet_agent.store.outbox import Outbox, OutboxSize
    from discreet_agent.store.store import Store
    from discreet_agent.store.trail import Trail
    from discreet_contract.accounting import BudgetRefusal, LedgerEntry
    from discreet_contract.policy.model import Policy


@dataclass(frozen=True, slots=True)
class Health:
    """What only the running daemon knows."""

    broker: str  # "connected" or why not
    releases: str  # "running" or why not
    stored: str = "ok"  # or why nothing can be stored, and the next step
    http: str = ""  # where it listens
    uncounted: Mapping[str, Mapping[StrEnum, int]] = field(default_factory=dict)  # counters not written down yet
    anomalies: Sequence[Finding] = ()  # of its sources, found lately
    is_absence_held: bool = False  # the clock claims that the device was off, and is not believed yet


_HELD = (
    "held: the clock says that the device was off for more than an hour; it is believed when it is synchronised or a "
    "signed time agrees, after a day at the latest"
)


def describe(store: Store, policies: Policies, consent: Consent, health: Health) -> dict[str, Any]:
    """The whole status as JSON builtins; without what the store would say where it cannot be read now."""
    obeyed = policies.obeyed
    policy = obeyed.policy
    stored, facts = health.stored, {}
    try:
        facts = _describe_store(store, policies, health)
    except RetryableError as exc:
        stored = describe_trouble(exc)
    return {
        **_describe_consent(consent, policy.policy),
        "policy": {
            "fleet": policy.policy.fleet,
            "version": policy.policy.version,
            "hash": policy.digest.hex(),
            "signed_by": policy.signed_by,
            "source": policies.source,
            "log": {"size": obeyed.head.size, "root": obeyed.head.root, "signed_at": _iso(obeyed.head.time_ms // 1000)},
            "refused": _policy_refusal(policies.refusal),
        },
        "broker": health.broker,
        "http": health.http or "off",
        "releases": health.releases,
        "store": stored,
        **facts,
    }


def describe_trouble(problem: DiscreetError) -> str:
    """Why nothing can be stored, and the next step."""
    return f"unavailable: {problem}; {problem.hint}"


def _describe_consent(consent: Consent, policy: Policy) -> dict[str, Any]:
    try:
        refusal = consent.refusal(policy)
    except DiscreetError as exc:
        return {"state": "unknown", "why_off": f"{exc}; {exc.hint}"}
    return {"state": "on" if refusal is None else "off", "why_off": refusal}


def _describe_store(store: Store, policies: Policies, health: Health) -> dict[str, Any]:
    blocks, events = store.raw.size()
    spent = sum(debit.nano for debit in store.ledger.debits())
    return {
        "raw": {"blocks": blocks, "events": events},
        "database_bytes": store.used_bytes(),
        "forgetting": _HELD if health.is_absence_held else "running",
        "reports_waiting": store.outbox.waiting(),
        "outbox": _describe_outbox(store.outbox.size(), policies.obeyed.policy.policy),
        "epsilon_spent": spent / NANO,
        "epsilon_reserved": sum(debit.nano for debit in store.reservations.debits()) / NANO,
        "anomalies": [describe_anomaly(finding) for finding in health.anomalies],
        "last_refusal": _refusal(store.ledger.last_refusal()),
        "next_windows": {name: _iso(_next_window(store, name)) for name in policies.obeyed.policy.plans},
        "counters": _counters(store, health.uncounted),
    }


def _describe_outbox(held: OutboxSize, policy: Policy) -> dict[str, Any]:
    bounds = policy.outbox
    return {
        "reports": held.reports,
        "bytes": held.bytes,
        "max_reports": bounds.max_reports,
        "max_bytes": bounds.max_bytes,
        "says": explain_full(bounds, held) or "there is room",
    }


def describe_anomaly(finding: Finding) -> dict[str, Any]:
    """What was unlike the usual, for the owner."""
    return {
        "at": _iso(finding.hour * 3600),
        "signal": finding.signal,
        "kind": finding.kind.value,
        "measure": finding.measure,
        "explanation": finding.explanation,
    }


def _counters(store: Store, uncounted: Mapping[str, Mapping[StrEnum, int]]) -> dict[str, dict[str, int]]:
    """The stored ones, and what is not written down yet."""
    counters = {name: Counter(reasons) for name, reasons in store.counters().items()}
    for name, reasons in uncounted.items():
        if reasons:
            counters.setdefault(name, Counter()).update({reason.value: times for reason, times in reasons.items()})
    return {name: dict(reasons) for name, reasons in counters.items()}


def releases(halted: Halted | None, *, key_valid: bool) -> str:
    """Whether windows are charged and reports leave; where not, why and what to do (P9)."""
    if halted is not None:
        return f"{'stopped' if halted.reason.is_final else 'waiting'}: {halted}"
    return "running" if key_valid else "paused: the policy names no aggregator key that is valid today"


def describe_sent(
    outbox: Outbox, limit: int = -1, offset: int = 0, report_id: bytes | None = None
) -> list[dict[str, Any]]:
    """Every report that may have left this device: its exact bytes, what they say, when they went."""
    return [
        _report(row) | {"settled": _iso_ms(row["settled_at_ms"])} for row in outbox.history(limit, offset, report_id)
    ]


def describe_preview(
    outbox: Outbox, limit: int = -1, offset: int = 0, report_id: bytes | None = None
) -> list[dict[str, Any]]:
    """Every report that waits, in the order in which they go."""
    return [
        _report(row) | {"goes_at": _iso_ms(row["not_before_ms"])} for row in outbox.preview(limit, offset, report_id)
    ]


def _report(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "report_id": row["report_id"].hex(),
        "metric": row["metric"],
        "window_start": _iso(row["window_start"]),
        "mechanism": row["mechanism"],
        "says": row["says"],
        "state": row["state"] if row["verdict"] is None else verdict_name(row["verdict"]),
        "times_sent": row["times_sent"],
        "first_sent": _iso_ms(row["first_sent_ms"]),
        "last_sent": _iso_ms(row["last_sent_ms"]),
        "envelope_bytes": len(row["envelope"]),
        "envelope": row["envelope"].hex(),
    }


def describe_quarantine(found: Iterable[Quarantined]) -> list[dict[str, Any]]:
    """Refused input by shape: what was wrong with it, how often, when. No values."""
    return [
        {
            "count": kept.count,
            "reason": kept.shape.reason,
            "detail": kept.shape.detail,
            "signal": kept.shape.signal,
            "version": kept.shape.version,
            "fields": kept.shape.fields,
            "size_bytes_at_most": kept.shape.size_bytes or None,
            "sender": kept.shape.sender,
            "first": _iso(kept.first_ms // 1000),
            "last": _iso(kept.last_ms // 1000),
        }
        for kept in found
    ]


def describe_trail(trail: Trail) -> list[dict[str, Any]]:
    """Which policy was in force when, why it changed, who signed it; oldest first."""
    return [
        {
            "since": _iso(entry.since_ms // 1000),
            "version": entry.version,
            "hash": entry.policy_hash.hex(),
            "signed_by": entry.signed_by,
            "author": entry.author,
            "reason": entry.reason,
            "source": entry.source,
            "log_size": entry.head_size,
            "log_root": entry.head_root,
        }
        for entry in trail.entries()
    ]


def describe_deletions(deletions: list[Deletion]) -> list[dict[str, Any]]:
    """Receipts of what was forgotten."""
    return [
        {
            "at": _iso(deletion.at_ms // 1000),
            "layer": deletion.layer,
            "of": deletion.subject,
            "from": _iso(deletion.start),
            "seconds": deletion.length,
            "items": deletion.items,
            "why": deletion.why,
            "key": deletion.key_fingerprint,
        }
        for deletion in deletions
    ]


def describe_ledger(ledger: Ledger) -> dict[str, Any]:
    """Every charge, and whether the chain holds."""
    rows = ledger.verify()
    return {"rows": rows, "chain": "holds", "entries": [_charge(entry) for entry in ledger.entries()]}


def describe_check(checked: Checked) -> dict[str, Any]:
    """What a verification of the ledger found."""
    return {
        "rows": len(checked.entries),
        "epsilon": sum(entry.nano for entry in checked.entries) / NANO,
        "policies": checked.policies,
        "head": None if checked.head is None else checked.head.sequence,
        "findings": [
            {"row": finding.sequence or None, "flaw": finding.flaw.value, "found": finding.found, "says": str(finding)}
            for finding in checked.findings
        ],
    }


def explain_refusal(metric: str, window_start: int, refusal: BudgetRefusal) -> str:
    """A refused charge in one sentence (P9)."""
    resets = f"resets for windows from {_iso(refusal.resets_at)}" if refusal.resets_at else "does not reset"
    return (
        f"{metric}, window {_iso(window_start)}: asked ε {refusal.asked / NANO:g}, "
        f"spent {refusal.spent / NANO:g} with what is reserved for windows that began before it, "
        f"left {refusal.left / NANO:g} under {refusal.cap}; {resets}: {refusal.advice}"
    )


def _policy_refusal(refusal: Refusal | None) -> dict[str, Any] | None:
    if refusal is None:
        return None
    return {
        "reason": refusal.reason.value,
        "detail": refusal.text,
        "source": refusal.source,
        "at": _iso(refusal.at_ms // 1000),
    }


def _refusal(last: tuple[str, int, BudgetRefusal] | None) -> str | None:
    return None if last is None else explain_refusal(*last)


def _charge(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "metric": entry.metric,
        "window_start": _iso(entry.window_start),
        "window_seconds": entry.window_seconds,
        "epsilon": entry.nano / NANO,
        "nano_epsilon": entry.nano,
        "mechanism": entry.mechanism,
        "policy_hash": entry.policy_hash.hex(),
        "charged_at_ms": entry.charged_at_ms,
        "previous": entry.previous.hex(),
        "digest": entry.digest().hex(),
    }


def _next_window(store: Store, metric: str) -> int | None:
    scheduled = store.tallies.scheduled(metric)
    return None if scheduled is None else scheduled.next_window


def _iso(at_seconds: int | None) -> str | None:
    return None if at_seconds is None else datetime.fromtimestamp(at_seconds, UTC).isoformat().replace("+00:00", "Z")


def _iso_ms(at_ms: int | None) -> str | None:
    return None if at_ms is None else _iso(at_ms // 1000)
