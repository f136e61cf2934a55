"""Whether the signal that anomalies go to can take what the agent says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.policy.check_personalization import unknown_name
from discreet_contract.policy.model import CategoryField
from discreet_contract.policy.shape import ShapeProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Policy

_AT = ("collector", "anomalies", "signal")
_RULE = "ANOMALIES"


def check_anomalies(policy: Policy) -> Iterator[ShapeProblem]:
    """Every field that the agent must fill and cannot: it knows `signal`, `kind` and `measure` of an anomaly."""
    declared = policy.collector.anomalies
    if declared is None:
        return
    signal = policy.signals.get(declared.signal)
    if signal is None:
        yield from unknown_name(declared.signal, policy.signals, _AT, "signal")
        return
    if policy.collector.host is not None and policy.collector.host.signal == declared.signal:
        yield ShapeProblem(_AT, _RULE, "the host's samples go to this signal already")
    said = {
        "signal": set(policy.signals) - {declared.signal},
        "kind": {"spike", "drop", "stuck"},
        "measure": {"rate", "mean"},
    }
    for name, field in signal.fields.items():
        if name not in said and field.required:
            yield ShapeProblem(_AT, _RULE, f"the agent cannot fill {name!r}: it says signal, kind and measure")
        elif name in said and not isinstance(field, CategoryField):
            yield ShapeProblem(_AT, _RULE, f"{name!r} must be a category")
        elif name in said and isinstance(field, CategoryField) and field.required:
            missing = sorted(said[name] - set(field.values))
            if missing:
                yield ShapeProblem(_AT, _RULE, f"{name!r} is required and has no value {missing[0]!r}")
