"""Experiments as this device takes part in them: enrolled when they are announced, left for good, exposed once a phase.

Enrolment, exposure and outcome are three records: which arm (here, and on reports), that an app acted on it (here,
when the app says so), and what came of it (an ordinary signal). That a flag was evaluated is none of them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from discreet_agent.personal.apps import Seen
from discreet_agent.store.deletions import Deletion, Why
from discreet_agent.store.exposures import Enrolment
from discreet_agent.trials.facts import fix_installed, read_installed
from discreet_agent.trials.standing import CHANCE, Standing, draw_all, phase_of
from discreet_contract.clock import start_of_day
from discreet_contract.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from discreet_agent.personal.apps import Exposure
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.layer import RawLayer
    from discreet_agent.store.store import Store
    from discreet_agent.trials.standing import Draws
    from discreet_contract.policy.trials import Experiment

REPEATS_EVERY_MS = 60_000


class Trials:
    """Keeps one device's enrolments and exposures under one policy after another."""

    def __init__(self, device: Device, store: Store, layer: RawLayer) -> None:
        self._store = store
        self._layer = layer
        self._enrolments: dict[str, Enrolment] | None = None
        self._undone = store.undone
        self._repeats: dict[tuple[str, str, str], int] = {}
        self._repeats_written_ms = 0
        self.adopt(device)

    def adopt(self, device: Device) -> None:
        """Go on under this device's policy."""
        self._device = device
        self._experiments = device.rules.experiments
        self._phases = {name: phase_of(experiment) for name, experiment in self._experiments.items()}
        self._draws: Draws | None = None

    # --- enrolment -------------------------------------------------------------------------

    def tick(self) -> None:
        """Enrol in what is announced, leave what is no longer for this device; writes only where something changed."""
        if self._device.why_off is not None or not self._layer.is_dated:
            return
        self._fix_installed()
        retracted = set(self._retracted())
        left = [enrolment for enrolment in self._leaving() if enrolment.experiment not in retracted]
        mended = [enrolment for enrolment in self._dated_ahead() if enrolment.experiment not in retracted]
        changed = [*mended, *left, *self._entering(retracted)]
        if changed or retracted:
            with self._store.transaction():
                for name in retracted:
                    self._store.exposures.forget_enrolment(name)
                for enrolment in changed:
                    self._store.exposures.enrol(enrolment)
            self._enrolments = None
        if abs(self._now_ms - self._repeats_written_ms) >= REPEATS_EVERY_MS:
            self.write_repeats()

    def _entering(self, gone: Collection[str]) -> Iterator[Enrolment]:
        known = self._known().keys() - gone
        for name, arm in self._drawn().arms.items():
            experiment = self._experiments[name]
            is_open = name not in self._device.rules.kill.experiments and self._now_ms < _ms(experiment.end)
            if name not in known and is_open:
                since_ms = max(_ms(experiment.start), self._now_ms)
                yield Enrolment(name, arm, since_ms, None, "", self._device.consent.refused_ms())

    def _leaving(self) -> Iterator[Enrolment]:
        for name, enrolment in self._known().items():
            why = self._why_left(name, enrolment)
            if enrolment.left_ms is None and why is not None:
                yield enrolment._replace(left_ms=self._now_ms, why=why.value)

    def _retracted(self) -> Iterator[str]:
        """Announced experiments that have not begun here and are not drawn any more: it never took part in them."""
        for name, enrolment in self._known().items():
            if enrolment.left_ms is None and self._now_ms < enrolment.since_ms and name not in self._drawn().arms:
                yield name

    def _dated_ahead(self) -> Iterator[Enrolment]:
        """Enrolled by a clock that was ahead, and is set right now: it takes part from now on, not from then on."""
        for name, enrolment in self._known().items():
            experiment = self._experiments.get(name)
            if experiment is not None and enrolment.left_ms is None:
                since_ms = max(_ms(experiment.start), self._now_ms)
                if since_ms < enrolment.since_ms:
                    yield enrolment._replace(since_ms=since_ms)

    def _why_left(self, name: str, enrolment: Enrolment) -> Standing | None:
        experiment = self._experiments.get(name)
        if experiment is None:
            return Standing.REMOVED
        if self._now_ms >= _ms(experiment.end):
            return None  # it stays what it was
        if name in self._device.rules.kill.experiments:
            return Standing.KILLED
        if self._device.consent.refused_ms() != enrolment.refused_ms:
            return Standing.OPTED_OUT
        reason = self._drawn().reasons.get(name)
        return reason if reason in CHANCE else None  # whoever is in stays, whatever its public facts become

    def arms(self) -> dict[str, str]:
        """Experiment → arm, of those that run now."""
        if self._device.why_off is not None:
            return {}
        return {
            name: enrolment.arm
            for name, enrolment in self._known().items()
            if name in self._experiments and self._is_in(enrolment, self._experiments[name], self._now_ms)
        }

    def _is_in(self, enrolment: Enrolment, experiment: Experiment, now_ms: int) -> bool:
        has_left = enrolment.left_ms is not None or self._why_left(enrolment.experiment, enrolment) is not None
        return not has_left and enrolment.since_ms <= now_ms < _ms(experiment.end)

    def arm_throughout(self, name: str, start: int, end: int) -> str | None:
        """The arm that this device was in for all of [start, end) seconds; None where it was not."""
        enrolment = self._known().get(name)
        if enrolment is None or enrolment.since_ms > start * 1000:
            return None
        has_left = enrolment.left_ms is not None and enrolment.left_ms < end * 1000
        return None if has_left else enrolment.arm

    # --- exposure --------------------------------------------------------------------------

    def note(self, exposures: Sequence[Exposure], acted_on: Collection[str]) -> list[Seen]:
        """Note exposures, durably. `acted_on`: experiments whose arm this device acts on now."""
        arms = self.arms()
        outcomes: list[Seen] = []
        fresh: list[tuple[str, str, str]] = []
        known = self._store.exposures.known()
        counts: dict[tuple[str, str, str], int] = {}
        for exposure in exposures:
            found = [name for name in arms if self._experiments[name].flag == exposure.flag and name in acted_on]
            if not found:
                outcomes.append(Seen.NO_EXPERIMENT)
                continue
            row = (found[0], arms[found[0]], self._phases[found[0]])
            if exposure.variant is not None and exposure.variant != row[1]:
                outcomes.append(Seen.OTHER_VARIANT)
                continue
            is_new = row not in known
            if is_new:
                known.add(row)
                fresh.append(row)
            counts[row] = counts.get(row, 0) + exposure.count
            outcomes.append(Seen.NOTED if is_new else Seen.KNOWN)
        if fresh:
            with self._store.transaction():
                for row in fresh:
                    self._store.exposures.note(*row, self._now_ms, self._device.rules.version)
        for row, count in counts.items():
            self._repeats[row] = self._repeats.get(row, 0) + count
        return outcomes

    def write_repeats(self) -> None:
        """Write down how often exposures were reported; what a kill costs of it is only this count."""
        self._repeats_written_ms = self._now_ms
        if self._repeats and self._device.why_off is None:
            with self._store.transaction():
                for row, count in self._repeats.items():
                    self._store.exposures.count(*row, count)
            self._repeats.clear()

    # --- telling ---------------------------------------------------------------------------

    def describe(self) -> list[dict[str, Any]]:
        """Each experiment for the owner: enrolled in which arm since when, or why not."""
        return [self._described(name, experiment) for name, experiment in self._experiments.items()]

    def _described(self, name: str, experiment: Experiment) -> dict[str, Any]:
        enrolment = self._known().get(name)
        standing = self._standing(name, experiment, enrolment)
        said: dict[str, Any] = {
            "name": name,
            "standing": standing.value,
            "flag": experiment.flag,
            "layer": experiment.layer,
            "start": experiment.start,
            "end": experiment.end,
            "phase": self._phases[name],
        }
        if enrolment is not None:
            said |= {"arm": enrolment.arm, "since_ms": enrolment.since_ms, "left_ms": enrolment.left_ms}
        said["exposures"] = [
            {"arm": arm, "phase": phase, "first_ms": at_ms, "policy_version": version, "reports": reports}
            for arm, phase, at_ms, version, reports in self._store.exposures.of(name)
        ]
        return said

    def _standing(self, name: str, experiment: Experiment, enrolment: Enrolment | None) -> Standing:
        if self._device.why_off is not None:
            return Standing.OFF
        if enrolment is not None and enrolment.left_ms is not None:
            return Standing(enrolment.why)
        if name in self._device.rules.kill.experiments:
            return Standing.KILLED
        if self._now_ms >= _ms(experiment.end):
            return Standing.ENDED
        if enrolment is None:
            reason = self._drawn().reasons.get(name)
            if reason not in CHANCE and not self._layer.is_dated:  # nor is it known when this device was installed
                return Standing.CLOCK_UNKNOWN
            return reason or Standing.NOT_BEGUN
        return Standing.ENROLLED if enrolment.since_ms <= self._now_ms else Standing.NOT_BEGUN

    # --- forgetting ------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget exposures after their retention, enrolments that no report can name; within a transaction."""
        rules, now_ms = self._device.rules, self._now_ms
        kept = rules.retention.enriched
        horizon_ms = seconds(rules.late_horizon) * 1000
        for name in self._store.exposures.experiments():
            experiment = self._experiments.get(name)
            is_over = experiment is None or now_ms >= _ms(experiment.end) + horizon_ms
            before_ms = None if is_over else now_ms - seconds(kept) * 1000 if kept is not None else 0
            gone = self._store.exposures.forget(name, before_ms)
            if gone:
                self._store.deletions.add_up(Deletion(now_ms, "enriched", name, None, None, gone, Why.EXPIRED))
        for name, enrolment in self._known().items():
            if enrolment.left_ms is None or name in self._experiments:
                continue
            if now_ms >= enrolment.left_ms + 366 * 86_400_000:  # it may come back for as long as an experiment lasts
                self._store.exposures.forget_enrolment(name)
                self._enrolments = None

    def purge(self) -> None:
        """Forget exposures; within a transaction. Enrolments are public facts and chance: they stay."""
        for name in self._store.exposures.experiments():
            gone = self._store.exposures.forget(name)
            self._store.deletions.add(Deletion(self._now_ms, "enriched", name, None, None, gone, Why.PURGED))
        self._repeats.clear()

    # --- what it stands on -----------------------------------------------------------------

    def _known(self) -> dict[str, Enrolment]:
        if self._enrolments is None or self._undone != self._store.undone:
            self._undone = self._store.undone
            self._enrolments = self._store.exposures.enrolments()
        return self._enrolments

    def _drawn(self) -> Draws:
        if self._draws is None:
            self._draws = draw_all(self._device.rules, self._device.secret, self._device.facts)
        return self._draws

    def _fix_installed(self) -> None:
        """The first day that a clock tells of which nothing says that it is wrong."""
        folder = self._device.consent.folder
        if self._device.facts.installed is not None or self._now_ms < self._layer.clock.signed_ms:
            return
        day = read_installed(folder)
        if day is None:
            day = datetime.fromtimestamp(self._now_ms / 1000, UTC).date().isoformat()
            fix_installed(folder, day)
        self._device = replace(self._device, facts=replace(self._device.facts, installed=day))
        self._draws = None

    @property
    def _now_ms(self) -> int:
        return self._layer.clock.expected_wall_ms


def _ms(day: str) -> int:
    return start_of_day(day) * 1000
