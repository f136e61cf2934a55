"""Findings as a table for people, and as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_contract.audit.findings import FALSE_ALARM, MEANINGS, Outcome
from discreet_contract.policy.explain_render import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from discreet_contract.audit.findings import Finding

NOT_ASKED = "Mechanisms were audited, devices were not: --no-device."
NOT_INSTALLED = (
    "Mechanisms were audited, devices were not: no device path is installed. "
    "Install discreet-agent beside this command to audit both."
)


def as_text(findings: Sequence[Finding], note: str | None = None) -> str:
    """One line a metric and check; then every failure in words; then the sum."""
    rows = [("metric", "check", "", "figures")]
    rows += [(plain(one.metric), one.check.value, one.outcome.value, one.figures) for one in findings]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    lines = [
        "  ".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    failed = [one for one in findings if one.outcome is Outcome.FAIL]
    for one in failed:
        looks_at, means, advice = MEANINGS[one.check]
        lines += ["", f"FAIL {plain(one.metric)}, {one.check.value}", f"  checked: {looks_at}"]
        lines += [f"  means:   {means}", f"  next:    {advice}"]
    lines += ["", *([note] if note else []), _sum(findings)]
    return "\n".join(lines)


def as_facts(findings: Sequence[Finding], note: str | None = None) -> dict[str, Any]:
    """The same for programs. `note` says why no device was walked."""
    return {
        "passed": not any(one.outcome is Outcome.FAIL for one in findings),
        "note": note,
        "false_alarm": FALSE_ALARM,
        "findings": [
            {
                "metric": one.metric,
                "check": one.check.value,
                "outcome": one.outcome.value,
                "figures": one.figures,
                "facts": one.facts,
            }
            for one in findings
        ],
    }


def _sum(findings: Sequence[Finding]) -> str:
    counted = {outcome: sum(one.outcome is outcome for one in findings) for outcome in Outcome}
    parts = [f"{counted[Outcome.PASS]} passed", f"{counted[Outcome.FAIL]} failed"]
    if counted[Outcome.NOT_RUN]:
        parts.append(f"{counted[Outcome.NOT_RUN]} not run")
    return f"{', '.join(parts)}. An honest device fails any of these by chance at most once in a million audits."
