"""Whether cohorts, layers and experiments make sense, and nothing private decides who takes part."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from discreet_contract.assignment import POSITIONS
from discreet_contract.policy.allotment import allot, clash, held_by_layer, positions_of, read_slots, size
from discreet_contract.policy.check_personalization import check_logic, check_operators, unknown_name, unknown_names
from discreet_contract.policy.dimensions import MOST, most_carried
from discreet_contract.policy.logic import has_computed_variable, variables
from discreet_contract.policy.shape import ShapeProblem, closest
from discreet_contract.policy.terms import share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.shape import Path
    from discreet_contract.policy.trials import Experiment

_PRIVATE = ("features", "scores", "segments", "flags")
_PUBLIC = ("platform", "release")
# Nothing that takes in a shared condition or makes a name while it runs: what enrolment reads is judged here, by name.
_ENROLMENT = "var and or ! == != === !== < <= > >= in sem_ver starts_with ends_with"
_ENROLMENT_OPERATORS = frozenset(_ENROLMENT.split())
_WHY = "who takes part, in which arm and when must not depend on what the device keeps to itself; use `eligible`"


def check_trials(policy: Policy) -> Iterator[ShapeProblem]:
    """Every misfit of what is compared."""
    for name, cohort in policy.cohorts.items():
        at = ("cohorts", name)
        yield from _check_span(at, "installed_from", cohort.installed_from, "installed_until", cohort.installed_until)
        if (cohort.installed_from, cohort.installed_until, cohort.platforms, cohort.releases) == (None, None, (), ()):
            yield ShapeProblem(at, "COHORT", "a cohort names installation dates, platforms or releases", on_key=True)
    for name, experiment in policy.experiments.items():
        yield from _check_experiment(policy, experiment, ("experiments", name))
    yield from _check_layers(policy)
    yield from _check_shared_flags(policy)


def _check_experiment(policy: Policy, experiment: Experiment, path: Path) -> Iterator[ShapeProblem]:
    yield from _check_span(path, "start", experiment.start, "end", experiment.end)
    total = sum(experiment.arms.values())
    if total != 100:
        yield ShapeProblem((*path, "arms"), "ARMS", f"the arms' shares add up to {total}, not to 100")
    if policy.layers:
        yield from unknown_name(experiment.layer, policy.layers, (*path, "layer"), "layer")
    if share(experiment.traffic) == 0:
        yield ShapeProblem((*path, "traffic"), "TRAFFIC", "an experiment without traffic; leave it out")
    yield from unknown_name(experiment.flag, policy.flags, (*path, "flag"), "flag")
    if experiment.flag in policy.flags:
        variants = policy.flags[experiment.flag].variants
        yield from unknown_names(experiment.arms, variants, (*path, "arms"), "variant")
    yield from _check_measures(policy, experiment, path)
    if experiment.enrol is not None:
        yield from _check_enrolment(policy, experiment.enrol, (*path, "enrol"))
    if experiment.eligible is not None:
        yield from check_logic(policy, experiment.eligible, (*path, "eligible"), ("features", "scores", "segments"))


def _check_measures(policy: Policy, experiment: Experiment, path: Path) -> Iterator[ShapeProblem]:
    named = [((*path, "primary"), experiment.primary)]
    named += [((*path, "guardrails", index), name) for index, name in enumerate(experiment.guardrails)]
    for at, name in named:
        metric = policy.metrics.get(name)
        if metric is None:
            yield from unknown_name(name, policy.metrics, at, "metric")
        elif "experiments" not in metric.by:
            message = f"metric {name!r} does not carry the arm; give it `by: [experiments]`"
            yield ShapeProblem(at, "ARM_NOT_CARRIED", message)
        elif most_carried(policy, name, experiment.start) > MOST:
            message = f"from {experiment.start} on reports of {name!r} would carry more than {MOST} dimensions"
            yield ShapeProblem(at, "DIMENSIONS", f"{message}; let fewer layers read it at once")
    if experiment.primary in experiment.guardrails:
        yield ShapeProblem((*path, "guardrails"), "DUPLICATE", "the primary metric is no guardrail")


def _check_enrolment(policy: Policy, logic: object, path: Path) -> Iterator[ShapeProblem]:
    known = [*_PUBLIC, *(f"cohorts.{name}" for name in policy.cohorts)]
    yield from check_operators(logic, path, _ENROLMENT_OPERATORS, f"enrolment takes {_ENROLMENT}")
    if has_computed_variable(logic):
        yield ShapeProblem(
            path, "PRIVATE_ENROLMENT", "enrolment names each variable in plain text, so that it can be judged"
        )
    for name in dict.fromkeys(variables(logic)):
        if name in known:
            continue
        group, _, rest = name.partition(".")
        if group in _PRIVATE or (not rest and any(name in getattr(policy, owner) for owner in _PRIVATE)):
            yield ShapeProblem(path, "PRIVATE_ENROLMENT", f"enrolment depends on {name!r}; {_WHY}")
        else:
            yield ShapeProblem(path, "UNKNOWN_VARIABLE", f"{name!r} is no public fact{closest(name, known)}")


def _check_layers(policy: Policy) -> Iterator[ShapeProblem]:
    """Experiments that run on one day may not ask for more devices of their layer than there are."""
    allotted = allot(policy)
    for name, experiment in policy.experiments.items():
        held_out = share(policy.holdout)
        if experiment.layer in policy.layers:
            held_out += share(policy.layers[experiment.layer].holdout)
        together = [
            other
            for other in policy.experiments.values()
            if other.layer == experiment.layer and other.start <= experiment.start < other.end
        ]
        total = held_out + sum(share(other.traffic) for other in together)
        if total > 1 + 1e-9:
            message = f"on {experiment.start} layer {experiment.layer!r} is asked for {total:.4g} times its devices"
            yield ShapeProblem(("experiments", name, "traffic"), "LAYER_FULL", message)
        elif size(allotted[name]) < positions_of(experiment.traffic) and not experiment.slots:
            message = f"layer {experiment.layer!r} has no {experiment.traffic} left beside the `slots` of the others"
            yield ShapeProblem(("experiments", name, "traffic"), "LAYER_FULL", message)
        yield from _check_slots(policy, name, experiment)


def _check_slots(policy: Policy, name: str, experiment: Experiment) -> Iterator[ShapeProblem]:
    if not experiment.slots:
        return
    at = ("experiments", name, "slots")
    slots = read_slots(experiment.slots)
    if any(positions_of(slot.partition("-")[0]) >= positions_of(slot.partition("-")[2]) for slot in experiment.slots):
        yield ShapeProblem(at, "SLOTS", "a slot goes from a smaller share to a larger one")
    elif size(slots) != positions_of(experiment.traffic):
        yield ShapeProblem(at, "SLOTS", f"these are {size(slots) / 100:g}% of the layer, `traffic` says otherwise")
    elif slots[-1][1] > POSITIONS - held_by_layer(policy, experiment.layer):
        yield ShapeProblem(at, "SLOTS", "the topmost positions are the layer's holdout")
    other = clash(policy, name)
    if other is not None and other < name:
        yield ShapeProblem(at, "SLOTS", f"{other!r} has some of these on the same days")


def _check_shared_flags(policy: Policy) -> Iterator[ShapeProblem]:
    for name, experiment in policy.experiments.items():
        for other_name, other in policy.experiments.items():
            if other_name >= name or other.flag != experiment.flag or other.layer == experiment.layer:
                continue
            if other.start < experiment.end and experiment.start < other.end:
                message = f"{other_name!r} turns the same flag on the same days; put both into one layer"
                yield ShapeProblem(("experiments", name, "flag"), "FLAG_SHARED", message)


def _check_span(path: Path, first: str, start: str | None, last: str, end: str | None) -> Iterator[ShapeProblem]:
    days = [(key, _day(text)) for key, text in ((first, start), (last, end)) if text is not None]
    for key, day in days:
        if day is None:
            yield ShapeProblem((*path, key), "DATES", "not a day of the calendar")
    if len(days) == 2 and days[0][1] and days[1][1] and days[1][1] - days[0][1] < timedelta(days=1):
        yield ShapeProblem((*path, last), "DATES", f"`{first}` is before `{last}`")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
