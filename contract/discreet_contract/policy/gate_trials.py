"""What a release may not touch while an experiment runs: what it rests on, and who is in it (P7)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from discreet_contract.policy.allotment import allot, covers, size, write_slots
from discreet_contract.policy.dependence import rests_on
from discreet_contract.policy.tree import same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.trials import Experiment


@dataclass(frozen=True, slots=True)
class GateProblem:
    """One reason why a release is refused, with the next step in its message."""

    rule: str
    path: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.rule} {'.'.join(self.path)}: {self.message}"


def held_by_experiments(new: Policy, released: Sequence[Policy], today: date | None) -> Iterator[GateProblem]:
    """A changed feature or flag must not change who does what in an experiment that has begun (P7).

    Judged against the last release that had the experiment: taking it out for a version frees nothing.
    """
    for name, former in _running(new, released, today):
        before = former.experiments[name]
        parts = rests_on(new, new.experiments[name])
        for part, meaning in rests_on(former, before).items():
            if part not in parts or not same(meaning, parts[part]):
                message = f"experiment {name!r} runs until {before.end} and rests on it; change it under a new name"
                yield GateProblem("EXPERIMENT_RUNNING", part, message)


def moved_devices(new: Policy, released: Sequence[Policy], today: date | None) -> Iterator[GateProblem]:
    """Nobody leaves a running experiment, or enters it, because something else changed."""
    allotted = allot(new)
    for name, former in _running(new, released, today):
        had = allot(former)[name]
        has_shrunk = size(allotted[name]) < size(had)  # which another rule says
        if not has_shrunk and not covers(allotted[name], had):
            was, now = write_slots(had), write_slots(allotted[name])
            advice = f"write `slots: {was}` into it, and more where its traffic rises"
            message = f"devices would move: it has {was} of its layer, and would have {now}; {advice}"
            yield GateProblem("EXPERIMENT_MOVED", ("experiments", name, "slots"), message)
        yield from _moved_holdouts(new, former, name)


def _moved_holdouts(new: Policy, former: Policy, name: str) -> Iterator[GateProblem]:
    layer = former.experiments[name].layer
    message = f"it was otherwise when experiment {name!r} began, which still runs; change it after its end"
    if new.holdout != former.holdout:
        yield GateProblem("HOLDOUT_FROZEN", ("holdout",), message)
    held = [policy.layers[layer].holdout if layer in policy.layers else "0%" for policy in (former, new)]
    if held[0] != held[1]:
        yield GateProblem("HOLDOUT_FROZEN", ("layers", layer, "holdout"), message)


def _running(new: Policy, released: Sequence[Policy], today: date | None) -> Iterator[tuple[str, Policy]]:
    """Experiments that have begun and not ended, each with the last release that had it."""
    for name in new.experiments:
        former = next((policy for policy in reversed(released) if name in policy.experiments), None)
        if former is not None and _runs(former.experiments[name], today):
            yield name, former


def _runs(experiment: Experiment, today: date | None) -> bool:
    return today is None or date.fromisoformat(experiment.start) <= today < date.fromisoformat(experiment.end)
