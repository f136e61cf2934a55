"""Where a device stands in an experiment: its arm, or why it has none. In: policy, secret and public facts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from discreet_agent.personal.coerce import LogicError, is_true
from discreet_agent.personal.frame import Frame
from discreet_agent.personal.logic import compile_rule
from discreet_agent.trials.facts import enrolment_context
from discreet_contract.assignment import POSITIONS, assignment_key, draw_arm, is_held_out, layer_position
from discreet_contract.policy.allotment import allot, held_by_layer, holds, positions_of
from discreet_contract.policy.plain import plain_experiment

if TYPE_CHECKING:
    from discreet_agent.trials.facts import Facts
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.trials import Experiment


class Standing(StrEnum):
    """Why a device is, or is not, in an experiment. A closed list."""

    ENROLLED = "ENROLLED"
    NOT_BEGUN = "NOT_BEGUN"
    ENDED = "ENDED"
    KILLED = "KILLED"  # the policy's kill switch
    HELD_OUT = "HELD_OUT"  # of all experiments
    LAYER_HELD_OUT = "LAYER_HELD_OUT"
    NOT_DRAWN = "NOT_DRAWN"  # its position belongs to nobody or to another experiment
    NOT_MEANT = "NOT_MEANT"  # `enrol`: its public facts
    OPTED_OUT = "OPTED_OUT"  # the owner said no since it was enrolled; for good
    REMOVED = "REMOVED"  # the experiment was taken out meanwhile; for good
    CLOCK_UNKNOWN = "CLOCK_UNKNOWN"
    OFF = "OFF"


# What policy and secret say alone. A device that was away while the layer was shared out anew, which a release may do
# until an experiment begins, leaves with these: or it would be in two experiments of one layer.
CHANCE = frozenset({Standing.HELD_OUT, Standing.LAYER_HELD_OUT, Standing.NOT_DRAWN})


@dataclass(frozen=True, slots=True)
class Draws:
    """One device's draws under one policy, for all of its experiments."""

    arms: dict[str, str]  # of those it is drawn for, running or not
    reasons: dict[str, Standing]  # for the others


def draw_all(policy: Policy, secret: bytes, facts: Facts) -> Draws:
    """Where this device stands, whatever the day."""
    key = assignment_key(secret)
    allotted = allot(policy)
    draws = Draws({}, {})
    held_out = is_held_out(key, policy.fleet, positions_of(policy.holdout))
    for name, experiment in policy.experiments.items():
        position = layer_position(key, experiment.layer)
        if held_out:
            draws.reasons[name] = Standing.HELD_OUT
        elif position >= POSITIONS - held_by_layer(policy, experiment.layer):
            draws.reasons[name] = Standing.LAYER_HELD_OUT
        elif not holds(allotted[name], position):
            draws.reasons[name] = Standing.NOT_DRAWN
        elif not _is_meant(policy, experiment, facts):
            draws.reasons[name] = Standing.NOT_MEANT
        else:
            draws.arms[name] = draw_arm(key, experiment.salt, experiment.arms)
    return draws


def _is_meant(policy: Policy, experiment: Experiment, facts: Facts) -> bool:
    if experiment.enrol is None:
        return True
    context = enrolment_context(policy, facts)
    try:
        return is_true(compile_rule(experiment.enrol)(context, Frame(context, "", int)))
    except LogicError:
        return False


def phase_of(experiment: Experiment) -> str:
    """Names a phase: the experiment's definition with its traffic, without its words.

    A key of a later language does not change it while it has its default.
    """
    meaning = {key: value for key, value in plain_experiment(experiment).items() if key not in {"hypothesis", "owner"}}
    return blake2b(msgspec.json.encode(meaning, order="deterministic"), digest_size=6).hexdigest()
