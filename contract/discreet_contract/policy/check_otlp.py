"""Whether a signal can be made of the metric that its `otlp` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.policy.model import NumberField
from discreet_contract.policy.shape import ShapeProblem, closest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Otlp, Policy, Signal
    from discreet_contract.policy.shape import Path


def check_otlp(policy: Policy) -> Iterator[ShapeProblem]:
    """Every misfit between a signal's fields and its metric, and two signals that ask for the same points."""
    asked: dict[tuple[str, frozenset[tuple[str, str]]], str] = {}
    for name, signal in policy.signals.items():
        otlp = signal.otlp
        if otlp is None:
            continue
        at = ("signals", name, "otlp")
        yield from _check_value(signal, otlp, at)
        yield from _check_attributes(signal, otlp, at)
        first = asked.setdefault((otlp.metric, frozenset(otlp.only.items())), name)
        if first != name:
            message = f"{first!r} takes the same points of {otlp.metric!r}; tell them apart by `only`"
            yield ShapeProblem((*at, "metric"), "OTLP", message)


def _check_value(signal: Signal, otlp: Otlp, at: Path) -> Iterator[ShapeProblem]:
    field = signal.fields.get(otlp.value)
    if field is None:
        near = closest(otlp.value, list(signal.fields))
        yield ShapeProblem((*at, "value"), "UNKNOWN_FIELD", f"the signal has no field {otlp.value!r}{near}")
    elif not isinstance(field, NumberField):
        yield ShapeProblem((*at, "value"), "OTLP", f"a data point's value is a number, {otlp.value!r} is none")


def _check_attributes(signal: Signal, otlp: Otlp, at: Path) -> Iterator[ShapeProblem]:
    for name in otlp.attributes:
        if name not in signal.fields:
            near = closest(name, list(signal.fields))
            yield ShapeProblem((*at, "attributes", name), "UNKNOWN_FIELD", f"the signal has no field {name!r}{near}")
        elif name == otlp.value:
            yield ShapeProblem((*at, "attributes", name), "OTLP", "this field takes the data point's value")
    for name, field in signal.fields.items():
        if field.required and name != otlp.value and name not in otlp.attributes:
            message = f"the required field {name!r} is filled by nothing, so every point would be refused"
            yield ShapeProblem(at, "OTLP", message)
