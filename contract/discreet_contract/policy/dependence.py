"""What an experiment rests on: its flag, and whatever that flag or its eligibility reads.

While the experiment runs these keep their meaning, or its arms would change under its feet (P7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from discreet_contract.policy.logic import evaluators, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.personalization import Feature
    from discreet_contract.policy.trials import Experiment

Part: TypeAlias = tuple[str, str]  # section, name

_READABLE = ("features", "scores", "segments")


def rests_on(policy: Policy, experiment: Experiment) -> dict[Part, Any]:
    """Every part of the policy that decides what the experiment's devices do, as builtins without its words."""
    found: dict[Part, Any] = {}
    pending: list[Part] = [("flags", experiment.flag), *_read(policy, experiment.eligible)]
    while pending:
        part = pending.pop()
        section, name = part
        item = getattr(policy, section).get(name)
        if part in found or item is None:
            continue
        found[part] = _meaning(item)
        pending += _parts_of(policy, section, item)
    features = [policy.features[name] for section, name in [*found] if section == "features"]
    return found | _observed(policy, features)


def _observed(policy: Policy, features: list[Feature]) -> dict[Part, Any]:
    """What the features see of their signals: the fields that they read, and for how long events are kept."""
    seen: dict[str, dict[str, Any]] = {}
    for feature in features:
        signal = policy.signals[feature.from_]
        parts = seen.setdefault(feature.from_, {"retention": signal.retention})
        read = {feature.value, feature.by, *variables(feature.where)} & signal.fields.keys()
        parts |= {name: msgspec.to_builtins(signal.fields[name]) for name in sorted(map(str, read))}
    return {("signals", name): parts for name, parts in seen.items()}


def _parts_of(policy: Policy, section: str, item: Any) -> Iterator[Part]:
    match section:
        case "flags":
            yield from _read(policy, item.targeting)
        case "scores":
            yield from (("features", name) for name in item.weights)
        case "segments":
            yield from _read(policy, item.when)
            yield from _read(policy, item.until)
        case "evaluators":
            yield from _read(policy, item)


def _read(policy: Policy, logic: Any) -> Iterator[Part]:
    """What a condition names; `features.x` and plain `x` are the same."""
    yield from (("evaluators", name) for name in evaluators(logic))
    for variable in variables(logic):
        group, _, rest = variable.partition(".")
        name = rest.partition(".")[0] if group in _READABLE else group
        yield from ((section, name) for section in _READABLE if name in getattr(policy, section))


def _meaning(item: Any) -> Any:
    """Not its words, nor the file that its weights came from."""
    plain = msgspec.to_builtins(item)
    return (
        {key: value for key, value in plain.items() if key not in {"why", "model"}}
        if isinstance(plain, dict)
        else plain
    )
