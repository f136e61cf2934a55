"""The shelf of policies that reports may be under: every signed policy this aggregator was given.

Old versions stay on the shelf as long as devices may report under them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from discreet_contract.durations import seconds
from discreet_contract.errors import ConfigError, SignatureRefusedError
from discreet_contract.files import read_or_explain
from discreet_contract.policy.release import verify_policy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.policy.release import VerifiedPolicy

_HINT = "list signed policy files, or folders of *.json, under `policies`"


class PolicyShelf(Mapping[bytes, "VerifiedPolicy"]):
    """Policies by the 16 bytes of their hash that ride in reports. Raises ConfigError where two contradict."""

    def __init__(self, policies: Iterable[VerifiedPolicy]) -> None:
        self._by_hash = {policy.wire_hash: policy for policy in policies}
        self._plans: dict[tuple[str, str], MetricPlan] = {}
        self._grace: dict[tuple[str, str], int] = {}
        for verified in sorted(self._by_hash.values(), key=lambda one: one.policy.version):
            self._shelve(verified)

    def plan(self, metric: str, metric_version: str) -> MetricPlan | None:
        """How figures of this metric version are read; None if no policy here defines it."""
        return self._plans.get((metric, metric_version))

    def grace(self, metric: str, metric_version: str) -> int:
        """Seconds after a window's end until its figures are final, by the most patient policy that has the metric."""
        return self._grace[metric, metric_version]

    def __getitem__(self, wire_hash: bytes) -> VerifiedPolicy:
        return self._by_hash[wire_hash]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._by_hash)

    def __len__(self) -> int:
        return len(self._by_hash)

    def _shelve(self, verified: VerifiedPolicy) -> None:
        for plan in verified.plans.values():
            key = (plan.name, plan.version)
            first = self._plans.get(key, plan)
            # Sums of unlike mechanisms must never meet in one cell; a version that allows it is a policy fault.
            if (first.mechanism, first.grid) != (plan.mechanism, plan.grid):
                raise ConfigError(
                    f"two policies define metric {plan.name} version {plan.version} with different categories or steps",
                    hint="release the later policy with a new metric name",
                )
            self._plans[key] = plan  # the youngest policy's words and display
            self._grace[key] = max(self._grace.get(key, 0), grace_seconds(verified.policy))


def grace_seconds(policy: Policy) -> int:
    """How long after its window's end a report may still arrive."""
    return seconds(policy.lateness) + seconds(policy.spread) + seconds(policy.late_horizon)


def load_policies(entries: Iterable[str], roots: Collection[str], fleet: str) -> PolicyShelf:
    """Verify every signed policy under `entries` (files or folders). Raises ConfigError or SignatureRefusedError."""
    verified = [_load(path, roots, fleet) for path in _files(entries)]
    if not verified:
        raise ConfigError("no signed policy found", hint=_HINT)
    return PolicyShelf(verified)


def _files(entries: Iterable[str]) -> Iterator[Path]:
    for entry in map(Path, entries):
        if entry.is_dir():
            yield from sorted(entry.glob("*.json"))
        else:
            yield entry


def _load(path: Path, roots: Collection[str], fleet: str) -> VerifiedPolicy:
    signed = read_or_explain(path, what="a signed policy", hint=_HINT)
    try:
        verified = verify_policy(signed, roots)
    except SignatureRefusedError as exc:
        raise SignatureRefusedError(f"{path}: {exc}", hint="compare `roots`, or sign it again") from exc
    if verified.policy.fleet != fleet:
        raise ConfigError(
            f"{path}: a policy of fleet {verified.policy.fleet}, and this aggregator serves {fleet}",
            hint="one aggregator serves one fleet: take the file off `policies`, or mend `fleet`",
        )
    return verified
