"""The shelf of policies that reports may be under: every signed policy this aggregator was given.

A transparency log gives every version ever in force, and new ones as it grows. Old versions stay
on the shelf as long as devices may report under them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from discreet_contract.durations import seconds
from discreet_contract.errors import ConfigError, SignatureRefusedError
from discreet_contract.files import read_or_explain
from discreet_contract.policy.log import HEAD, PolicyLog
from discreet_contract.policy.release import verify_policy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from discreet_contract.policy.log import LogHead
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.plan import MetricPlan
    from discreet_contract.policy.release import VerifiedPolicy

_HINT = "list transparency logs, signed policy files, or folders of these files, under `policies`"


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
    """Verify every policy under `entries`, once. Raises ConfigError or SignatureRefusedError."""
    return PolicyFiles(entries, roots, fleet).load()


class PolicyFiles:
    """Where policies lie: signed files, folders of them, and transparency logs, which may grow."""

    def __init__(self, entries: Iterable[str], roots: Collection[str], fleet: str) -> None:
        self._entries = tuple(map(Path, entries))
        self._roots = roots
        self._fleet = fleet
        self._heads: dict[Path, LogHead] = {}  # of each log, when it was loaded last
        self._stamps: dict[Path, tuple[int, int]] = {}

    def load(self) -> PolicyShelf:
        """Verify everything. Raises ConfigError or SignatureRefusedError, and then nothing changes."""
        try:
            return self._load_all()
        except OSError as exc:
            message = f"{exc.filename}: cannot read policies: {exc.strerror}"
            raise ConfigError(message, hint="let the aggregator's user read them") from exc

    def _load_all(self) -> PolicyShelf:
        stamps = self._look()
        heads: dict[Path, LogHead] = {}
        verified = []
        for entry in self._entries:
            if entry in self._heads or (entry / HEAD).exists():  # a log whose head is gone is no empty folder
                policies, heads[entry] = self._load_log(entry)
                verified += policies
            else:
                verified += [_load(path, self._roots, self._fleet) for path in _files(entry)]
        if not verified:
            raise ConfigError("no signed policy found", hint=_HINT)
        shelf = PolicyShelf(verified)
        self._heads, self._stamps = heads, stamps
        return shelf

    def have_changed(self) -> bool:
        """Whether a log has another head than when it was loaded; a few `stat` calls."""
        return self._look() != self._stamps

    def _look(self) -> dict[Path, tuple[int, int]]:
        stamps = {}
        for entry in self._entries:
            try:
                status = (entry / HEAD).stat()
            except OSError:
                continue
            stamps[entry] = (status.st_mtime_ns, status.st_ino)
        return stamps

    def _load_log(self, folder: Path) -> tuple[list[VerifiedPolicy], LogHead]:
        """Every version ever released, if the log only grew since it was loaded last."""
        log = PolicyLog.open(folder)
        policies = log.verify(self._roots)
        if log.head is None:
            raise ConfigError(f"{folder}: its head is gone", hint="restore the folder from git")
        before = self._heads.get(folder)
        if before is not None and not log.has_grown_from(before):
            message = f"{folder}: SPLIT_VIEW: not the log of {before.size} release(s) loaded before, grown"
            raise SignatureRefusedError(message, rule="SPLIT_VIEW", hint="compare it with the log that devices see")
        for policy in policies:
            _check_fleet(folder, policy, self._fleet)
        return policies, log.head


def _files(entry: Path) -> list[Path]:
    return sorted(entry.glob("*.json")) if entry.is_dir() else [entry]


def _load(path: Path, roots: Collection[str], fleet: str) -> VerifiedPolicy:
    signed = read_or_explain(path, what="a signed policy", hint=_HINT)
    try:
        verified = verify_policy(signed, roots)
    except SignatureRefusedError as exc:
        raise SignatureRefusedError(f"{path}: {exc}", rule=exc.rule, hint="compare `roots`, or sign it again") from exc
    _check_fleet(path, verified, fleet)
    return verified


def _check_fleet(path: Path, verified: VerifiedPolicy, fleet: str) -> None:
    if verified.policy.fleet != fleet:
        raise ConfigError(
            f"{path}: a policy of fleet {verified.policy.fleet}, and this aggregator serves {fleet}",
            hint="one aggregator serves one fleet: take the file off `policies`, or mend `fleet`",
        )
