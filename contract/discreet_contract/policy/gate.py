"""May this policy be released after the last one? Pure: policies and signatures in, everything that forbids it out.

Frozen ids are judged against every earlier release, not only the last: an id that was once
published never comes back with another meaning. For a metric the meaning is the hash of its
compiled definition, so what counts as the same is decided where sums are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from discreet_contract.policy.diff import diff_policies
from discreet_contract.policy.diff_rules import Compatibility, Privacy
from discreet_contract.policy.gate_trials import GateProblem, held_by_experiments, moved_devices
from discreet_contract.policy.plan import plan_metrics
from discreet_contract.policy.schemaver import Bump, bump_made, bump_needed
from discreet_contract.policy.terms import share
from discreet_contract.policy.tree import same

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import date

    from discreet_contract.policy.diff import PolicyDiff
    from discreet_contract.policy.model import Policy

DEFAULT_THRESHOLD = 0.0  # rise of the yearly ε that one person may release alone
_FROZEN_SECTIONS = ("experiments", "cohorts")
_WORDS = {"why", "owner", "review"}
_RAMPED = {"traffic", "slots"}  # judged by rules of their own


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Under what a release is judged."""

    signatures: Collection[str]  # root keys (hex) that sign it
    threshold: float = DEFAULT_THRESHOLD
    earlier: Sequence[Policy] = ()  # releases before the last
    retired: Collection[str] = ()  # roots that others have succeeded
    roots: Collection[str] = ()  # roots that may sign it: the first release's and their successors; () for the first
    today: date | None = None  # None: every experiment counts as running


def release_problems(old: Policy | None, new: Policy, under: Circumstances) -> list[GateProblem]:
    """Everything that keeps `new` from following `old` (None: it is the first release)."""
    problems = list(_form(old, new, under.signatures))
    problems += _roots(under)
    if old is None:
        return problems
    released = [*under.earlier, old]
    diff = diff_policies(old, new)
    problems += _schema_versions(diff, old, new, released)
    problems += _frozen_metrics(new, released)
    problems += _frozen_sections(new, released)
    problems += _traffic(new, released)
    problems += held_by_experiments(new, released, under.today)
    problems += moved_devices(new, released, under.today)
    problems += _migration(diff, new)
    problems += _reviewer(diff, under.signatures, under.threshold)
    return problems


def _form(old: Policy | None, new: Policy, signatures: Collection[str]) -> Iterator[GateProblem]:
    due = 1 if old is None else old.version + 1
    if old is not None and new.fleet != old.fleet:
        yield GateProblem("FLEET", ("fleet",), f"this log belongs to fleet {old.fleet!r}; take another --log")
    if new.version != due:
        yield GateProblem("VERSION", ("version",), f"the next release is version {due}, not {new.version}")
    for key in ("author", "reason"):
        if not getattr(new.release, key).strip():
            yield GateProblem("RELEASE_NOTE", ("release", key), "say who releases this and why")
    if not signatures:
        yield GateProblem("SIGNATURE", (), "sign it with a root key: --key")


def _roots(under: Circumstances) -> Iterator[GateProblem]:
    for root in sorted({*under.signatures} & {*under.retired}):
        message = f"root {root[:16]}… has retired: sign with its successor, devices refuse this one"
        yield GateProblem("ROOT_RETIRED", (), message)
    if under.roots and under.signatures and not {*under.signatures} & {*under.roots}:
        message = "no signature by a root of this log: devices that pin one would refuse the release"
        yield GateProblem("ROOT_UNKNOWN", (), message)


def _schema_versions(diff: PolicyDiff, old: Policy, new: Policy, released: Sequence[Policy]) -> Iterator[GateProblem]:
    for name, signal in new.signals.items():
        path = ("signals", name, "version")
        former = [p.signals[name] for p in released if name in p.signals]
        under = [one for one in former if one.version == signal.version]
        fields = msgspec.to_builtins(signal.fields)
        if any(not same(msgspec.to_builtins(one.fields), fields) for one in under):
            message = f"{signal.version} was released with other fields; a version never changes its meaning"
            yield GateProblem("SCHEMAVER_REUSED", path, message)
        if under or name not in old.signals:
            continue  # released before with these very fields (a rollback), or newly collected
        before = old.signals[name].version
        needed, made = bump_needed(diff.changes, name), bump_made(before, signal.version)
        if made is None or made < needed:
            part = max(needed, Bump.ADDITION).name.lower()
            yield GateProblem("SCHEMAVER", path, f"raise at least the {part} of {before}; {signal.version} does not")


def _frozen_metrics(new: Policy, released: Sequence[Policy]) -> Iterator[GateProblem]:
    versions: dict[str, str] = {}
    for policy in released:
        versions |= {name: plan.version for name, plan in plan_metrics(policy).items()}
    for name, plan in plan_metrics(new).items():
        if versions.get(name, plan.version) != plan.version:
            message = f"released as {versions[name]}, now {plan.version}; give the new definition a new name"
            yield GateProblem("METRIC_FROZEN", ("metrics", name), message)


def _frozen_sections(new: Policy, released: Sequence[Policy]) -> Iterator[GateProblem]:
    """Experiments and cohorts, read from the tree so that this holds whatever their records look like."""
    tree = msgspec.to_builtins(new)
    for section in _FROZEN_SECTIONS:
        for name, item in (tree.get(section) or {}).items():
            former = [(msgspec.to_builtins(p).get(section) or {}).get(name) for p in released]
            if any(one is not None and not same(_meaning(one), _meaning(item)) for one in former):
                message = "released before with another definition; give the new one a new name"
                yield GateProblem(f"{section.removesuffix('s').upper()}_FROZEN", (section, name), message)


def _traffic(new: Policy, released: Sequence[Policy]) -> Iterator[GateProblem]:
    """A ramp takes more devices in and sends nobody away: what was measured of them would be of two kinds."""
    for name, experiment in new.experiments.items():
        former = [share(p.experiments[name].traffic) for p in released if name in p.experiments]
        if former and share(experiment.traffic) < max(former):
            message = f"it was {max(former):.4g} already and may only rise; to stop, take the experiment out"
            yield GateProblem("EXPERIMENT_TRAFFIC", ("experiments", name, "traffic"), message)


def _meaning(item: Any) -> Any:
    left_out = _WORDS | _RAMPED
    return {key: value for key, value in item.items() if key not in left_out} if isinstance(item, dict) else item


def _migration(diff: PolicyDiff, new: Policy) -> Iterator[GateProblem]:
    if diff.compatibility is Compatibility.BREAKING and not new.release.migration.strip():
        first = next(str(c) for c in diff.changes if c.compatibility is Compatibility.BREAKING)
        message = f"say what others must do, for this breaks them: {first}"
        yield GateProblem("MIGRATION", ("release", "migration"), message)


def _reviewer(diff: PolicyDiff, signatures: Collection[str], threshold: float) -> Iterator[GateProblem]:
    """A rise of the yearly loss above the threshold, or a newly sensitive signal, takes two people."""
    if len(set(signatures)) >= 2 or diff.privacy is not Privacy.REGRESSING:
        return
    if diff.loss_after - diff.loss_before > threshold or diff.sensitive:
        message = f"{diff.headline}: a reviewer's second signature is required"
        yield GateProblem("REVIEWER", (), message)


def rolled_back(content: Policy, last: Policy, *, author: str, reason: str) -> Policy:
    """A new version with old content: what is released to take back everything after `content`.

    The migration text names both versions, since a rollback takes back what others may have begun to use.
    """
    release = msgspec.structs.replace(
        content.release,
        author=author,
        reason=reason,
        migration=f"Back from version {last.version} to the content of version {content.version}.",
    )
    return msgspec.structs.replace(content, version=last.version + 1, release=release)
