"""What is left over, doubled, or said but not yet done."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import msgspec

from discreet_contract.durations import seconds
from discreet_contract.policy.check import first_refusals
from discreet_contract.policy.lints.table import rule
from discreet_contract.policy.model import Policy
from discreet_contract.policy.reads import fields_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from discreet_contract.policy.lints.table import Finding
    from discreet_contract.policy.shape import Path

# Top-level keys that this version checks, signs and delivers, and on which no agent or aggregator acts yet.
INERT_SECTIONS = ("expected_devices",)


def inert_parts(policy: Policy) -> Iterator[Path]:
    """Every part of a policy that says something on which nothing acts yet."""
    defaults = {field.name: field for field in msgspec.structs.fields(Policy)}
    for name in INERT_SECTIONS:
        field = defaults[name]
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        if getattr(policy, name) != default:
            yield (name,)


@rule
def inert(policy: Policy, _today: date) -> Iterator[Finding]:
    """A part that is checked and signed, but on which this version of agent and aggregator does not act yet."""
    for path in inert_parts(policy):
        yield path, "checked and signed, but this version does not act on it yet"


@rule
def signal_unread(policy: Policy, _today: date) -> Iterator[Finding]:
    """A signal that no metric, feature or guard reads: recorded for nothing."""
    read = fields_read(policy)
    for name, signal in policy.signals.items():
        if name not in read and signal.kind != "exposure":
            yield ("signals", name), "no metric, feature or guard reads it; leave it out"


@rule
def field_unread(policy: Policy, _today: date) -> Iterator[Finding]:
    """A field that no metric, feature or guard reads: recorded for nothing."""
    read = fields_read(policy)
    for name, signal in policy.signals.items():
        for field in signal.fields:
            if name in read and field not in read[name]:
                yield ("signals", name, "fields", field), "no metric, feature or guard reads it; leave it out"


@rule
def metric_unread(policy: Policy, _today: date) -> Iterator[Finding]:
    """A metric that carries the arm, and that no experiment reads."""
    read = {name for trial in policy.experiments.values() for name in (trial.primary, *trial.guardrails)}
    for name, metric in policy.metrics.items():
        if "experiments" in metric.by and name not in read:
            yield ("metrics", name, "by"), "no experiment reads it; leave the dimension out"


@rule
def weight_zero(policy: Policy, _today: date) -> Iterator[Finding]:
    """A score that weighs a feature by zero: it is computed for nothing."""
    for name, score in policy.scores.items():
        for feature, weight in score.weights.items():
            if weight == 0:
                yield ("scores", name, "weights", feature), "a weight of zero; leave the feature out"


@rule
def ttl_short(policy: Policy, _today: date) -> Iterator[Finding]:
    """A feature that is forgotten before its own window is over."""
    for name, feature in policy.features.items():
        if feature.ttl and feature.window and seconds(feature.ttl) < seconds(feature.window):
            yield ("features", name, "ttl"), f"forgotten after {feature.ttl}, before its window of {feature.window}"


@rule
def version_unmoved(policy: Policy, _today: date) -> Iterator[Finding]:
    """A signal that accepts its own version as an older one."""
    for name, signal in policy.signals.items():
        if signal.version in signal.accepts:
            yield ("signals", name, "accepts"), f"{signal.version} is the version itself; leave it out"


@rule
def killed(policy: Policy, _today: date) -> Iterator[Finding]:
    """A kill switch is on: say why, or take the part out."""
    kill = policy.kill
    if kill.personalization or kill.flags or kill.experiments or kill.metrics or kill.signals:
        yield ("kill",), "a kill switch is on; say why under `suppress`, or take the part out"


@rule
def exhaustible_needless(policy: Policy, _today: date) -> Iterator[Finding]:
    """`exhaustible` gives a reason for running out of budget, and the budget lasts."""
    if policy.budget.exhaustible and not first_refusals(policy):
        yield ("budget", "exhaustible"), "no cap refuses a device within its life; leave it out"


@rule
def spread_missing(policy: Policy, _today: date) -> Iterator[Finding]:
    """Without a spread the whole fleet publishes in the same second."""
    if seconds(policy.spread) < 1:
        yield ("spread",), "a fleet without spread stampedes at the window's border"


@rule
def unstable_segment(policy: Policy, _today: date) -> Iterator[Finding]:
    """A segment with neither `until` nor `min_stay`: a device at its border goes in and out all the time."""
    for name, segment in policy.segments.items():
        if segment.until is None and seconds(segment.min_stay) == 0:
            yield ("segments", name), "state `until` or `min_stay`, or devices at its border flutter"


@rule
def names_alike(policy: Policy, _today: date) -> Iterator[Finding]:
    """Two names that a reader takes for one."""
    for section in ("signals", "features", "metrics", "segments", "flags", "experiments"):
        names = list(getattr(policy, section))
        for index, name in enumerate(names):
            for earlier in names[:index]:
                if _alike(name, earlier):
                    yield (section, name), f"reads like {earlier!r}; choose a name that differs more"


def _alike(one: str, other: str) -> bool:
    plain = [text.replace("_", "").replace("-", "").replace(".", "").rstrip("s") for text in (one, other)]
    if plain[0] == plain[1]:
        return True
    digits = ["".join(c for c in text if c.isdigit()) for text in plain]
    return (
        digits[0] == digits[1] and min(map(len, plain)) > 5 and SequenceMatcher(None, plain[0], plain[1]).ratio() > 0.93
    )
