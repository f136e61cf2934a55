"""Judgements about a policy that is legal: named rules, each suppressible with a reason.

`suppress: {RULE: "reason"}` in the policy silences a rule; a suppression that silences
nothing is itself reported. `today` is an argument so that a verdict can be repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.policy.lints import experiments, hygiene, ownership, privacy, statistics
from discreet_contract.policy.lints.table import RULES
from discreet_contract.policy.shape import ShapeProblem

if TYPE_CHECKING:
    from datetime import date

    from discreet_contract.policy.model import Policy

__all__ = ["RULES", "THEMES", "lint_policy"]

THEMES = (ownership, privacy, statistics, experiments, hygiene)  # importing a theme enters its rules into the table


def lint_policy(policy: Policy, today: date) -> list[ShapeProblem]:
    """Every finding that the policy does not suppress, and every suppression without a finding or a reason."""
    findings = [finding for rule in RULES.values() for finding in rule(policy, today)]
    found_rules = {finding.rule for finding in findings}
    kept = [finding for finding in findings if finding.rule not in policy.suppress]
    for name, reason in policy.suppress.items():
        if name not in found_rules:
            message = f"nothing here breaks {name}; remove the suppression"
            kept.append(ShapeProblem(("suppress", name), "UNUSED_SUPPRESSION", message, on_key=True))
        elif len(reason.split()) < 3:
            message = "a suppression states its reason in words"
            kept.append(ShapeProblem(("suppress", name), "UNEXPLAINED_SUPPRESSION", message))
    return kept
