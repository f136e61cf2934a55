"""Two policies → every change, classed for those who use the policy and for those it measures.

Beside the places that were edited, what follows from them is a change too: a metric whose
compiled definition is another one, and a yearly loss that rose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_contract.errors import ExitCode
from discreet_contract.policy.diff_rules import Compatibility, Privacy, classify
from discreet_contract.policy.explain_render import markdown_table, plain
from discreet_contract.policy.loss import loss_of
from discreet_contract.policy.plan import plan_metrics
from discreet_contract.policy.tree import ABSENT, Difference, differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.tree import Path

_SHOWN = 60  # characters of a value


@dataclass(frozen=True, slots=True)
class Change:
    """One difference and its two classes."""

    path: Path
    old: Any
    new: Any
    compatibility: Compatibility
    privacy: Privacy

    def __str__(self) -> str:
        place = ".".join(self.path)
        if self.old is ABSENT:
            return f"adds {place}" + ("" if isinstance(self.new, dict) else f": {_shown(self.new)}")
        if self.new is ABSENT:
            return f"removes {place}"
        return f"{place}: {_shown(self.old)} → {_shown(self.new)}"


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """All changes, and the loss of a device in 365 days before and after (plain addition, under the caps)."""

    changes: tuple[Change, ...]
    loss_before: float
    loss_after: float
    sensitive: tuple[str, ...]  # signals that are sensitive now and were not collected, or not as such, before

    @property
    def compatibility(self) -> Compatibility:
        """That of the worst change."""
        return max((change.compatibility for change in self.changes), default=Compatibility.COSMETIC)

    @property
    def privacy(self) -> Privacy:
        """Regressing if anything is: an improvement elsewhere does not undo it."""
        found = {change.privacy for change in self.changes}
        if Privacy.REGRESSING in found:
            return Privacy.REGRESSING
        return Privacy.IMPROVING if Privacy.IMPROVING in found else Privacy.NEUTRAL

    @property
    def headline(self) -> str:
        """The sentence for a review."""
        parts = [f"365-day loss {self.loss_before:g} → {self.loss_after:g}"]
        parts += [f"adds sensitive signal {name}" for name in self.sensitive]
        return "; ".join(parts)

    @property
    def exit_code(self) -> ExitCode:
        """What `discreet policy diff` exits with."""
        if self.compatibility is Compatibility.BREAKING:
            regressing = self.privacy is Privacy.REGRESSING
            return ExitCode.DIFF_BREAKING_REGRESSING if regressing else ExitCode.DIFF_BREAKING
        if self.privacy is Privacy.REGRESSING:
            return ExitCode.DIFF_REGRESSING
        return ExitCode.DIFF_COMPATIBLE if self.compatibility is Compatibility.COMPATIBLE else ExitCode.OK


def diff_policies(old: Policy, new: Policy) -> PolicyDiff:
    """Every change from one compiled policy to another."""
    found = differences(msgspec.to_builtins(old), msgspec.to_builtins(new))
    changes = [_judged(difference) for difference in found]
    changes += _redefined(old, new, changes)
    before, after = loss_of(old, 365).at_most, loss_of(new, 365).at_most
    if after > before and not any(change.privacy is Privacy.REGRESSING for change in changes):
        changes.append(Change(("loss", "365 days"), before, after, Compatibility.COMPATIBLE, Privacy.REGRESSING))
    return PolicyDiff(tuple(changes), before, after, _newly_sensitive(old, new))


def _judged(difference: Difference) -> Change:
    compatibility, privacy = classify(difference)
    return Change(difference.path, difference.old, difference.new, compatibility, privacy)


def _redefined(old: Policy, new: Policy, changes: list[Change]) -> Iterator[Change]:
    """Metrics that an edit elsewhere gave another definition, such as a category value added to their field."""
    before = {name: plan.version for name, plan in plan_metrics(old).items()}
    broken = {c.path[1] for c in changes if c.path[0] == "metrics" and c.compatibility is Compatibility.BREAKING}
    for name, plan in plan_metrics(new).items():
        if before.get(name, plan.version) != plan.version and name not in broken:
            path = ("metrics", name, "version")
            yield Change(path, before[name], plan.version, Compatibility.BREAKING, Privacy.NEUTRAL)


def _newly_sensitive(old: Policy, new: Policy) -> tuple[str, ...]:
    before = {name for name, signal in old.signals.items() if signal.sensitivity == "sensitive"}
    return tuple(n for n, signal in new.signals.items() if signal.sensitivity == "sensitive" and n not in before)


def diff_facts(diff: PolicyDiff) -> dict[str, Any]:
    """For programs."""
    return {
        "summary": diff.headline,
        "compatibility": diff.compatibility.name.lower(),
        "privacy": diff.privacy.name.lower(),
        "loss_365_days": {"before": diff.loss_before, "after": diff.loss_after},
        "exit_code": int(diff.exit_code),
        "changes": [
            {
                "path": list(change.path),
                "old": None if change.old is ABSENT else change.old,
                "new": None if change.new is ABSENT else change.new,
                "kind": "added" if change.old is ABSENT else "removed" if change.new is ABSENT else "changed",
                "compatibility": change.compatibility.name.lower(),
                "privacy": change.privacy.name.lower(),
            }
            for change in diff.changes
        ],
    }


def diff_text(diff: PolicyDiff) -> str:
    """For a terminal: the sentence, then one line a change, the gravest first."""
    if not diff.changes:
        return "no change"
    rows = [(c.compatibility.name.lower(), c.privacy.name.lower(), plain(str(c))) for c in _gravest_first(diff)]
    lines = [f"{compatibility:<10}  {privacy:<10}  {what}" for compatibility, privacy, what in rows]
    return "\n".join([_verdict(diff), plain(diff.headline), "", *lines])


def diff_markdown(diff: PolicyDiff) -> str:
    """For a review comment."""
    if not diff.changes:
        return "**Policy diff:** no change"
    rows = [(str(c), c.compatibility.name.lower(), c.privacy.name.lower()) for c in _gravest_first(diff)]
    table = markdown_table(("change", "for users of the policy", "for privacy"), rows)
    return f"**Policy diff: {_verdict(diff)}**\n\n{plain(diff.headline)}\n\n{table}"


def _verdict(diff: PolicyDiff) -> str:
    return f"{diff.compatibility.name.lower()}, privacy-{diff.privacy.name.lower()}"


def _gravest_first(diff: PolicyDiff) -> list[Change]:
    return sorted(diff.changes, key=lambda change: (-change.privacy, -change.compatibility))


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
