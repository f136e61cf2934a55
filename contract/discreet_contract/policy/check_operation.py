"""Whether senders, contracts, guards and kill switches name things that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.condition import problems as condition_problems
from discreet_contract.durations import seconds
from discreet_contract.policy.check_personalization import unknown_name, unknown_names
from discreet_contract.policy.model import field_kinds
from discreet_contract.policy.shape import ShapeProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from discreet_contract.policy.model import Policy


def check_operation(policy: Policy) -> Iterator[ShapeProblem]:
    """Every misfit in how the fleet is run."""
    known: Mapping[str, object]
    for name in policy.contracts:
        yield from unknown_names({name: None}, policy.signals, ("contracts",), "signal")
    for name, sender in policy.senders.items():
        for key, known, what in (
            ("signals", policy.signals, "signal"),
            ("features", policy.features, "feature"),
            ("segments", policy.segments, "segment"),
            ("flags", policy.flags, "flag"),
        ):
            yield from unknown_names(getattr(sender, key), known, ("senders", name, key), what)
    yield from _check_guards(policy)
    for key, known, what in (
        ("flags", policy.flags, "flag"),
        ("experiments", policy.experiments, "experiment"),
        ("metrics", policy.metrics, "metric"),
        ("signals", policy.signals, "signal"),
    ):
        yield from unknown_names(getattr(policy.kill, key), known, ("kill", key), what)
    yield from _check_retention(policy)


def _check_guards(policy: Policy) -> Iterator[ShapeProblem]:
    for name, guard in policy.guards.items():
        at = ("guards", name)
        yield from unknown_names(guard.flags, policy.flags, (*at, "flags"), "flag")
        if seconds(guard.window) < 60:
            yield ShapeProblem((*at, "window"), "WINDOW", "a guard watches for one minute or longer")
        signal = policy.signals.get(guard.from_)
        if signal is None:
            yield from unknown_name(guard.from_, policy.signals, (*at, "from"), "signal")
        elif guard.where is not None:
            for message in condition_problems(guard.where, field_kinds(signal)):
                yield ShapeProblem((*at, "where"), "CONDITION", message)


def _check_retention(policy: Policy) -> Iterator[ShapeProblem]:
    """A signal may be kept for shorter than the layer allows, never for longer; what was sent long enough."""
    kept, longest = policy.retention.metrics, policy.retention.raw
    if kept is not None and seconds(kept) < seconds(policy.late_horizon):
        message = f"shorter than the late horizon of {policy.late_horizon}, within which reports may be asked for again"
        yield ShapeProblem(("retention", "metrics"), "RETENTION", message)
    if longest is None:
        return
    for name, signal in policy.signals.items():
        if seconds(signal.retention) > seconds(longest):
            message = f"kept for {signal.retention}, longer than the {longest} that `retention.raw` allows"
            yield ShapeProblem(("signals", name, "retention"), "RETENTION", message)
