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
    return found


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
    plain = msgspec.to_builtins(item)
    return {key: value for key, value in plain.items() if key != "why"} if isinstance(plain, dict) else plain
