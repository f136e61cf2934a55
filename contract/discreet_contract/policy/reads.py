"""Which fields of which signals anything in a policy reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.policy.logic import variables

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy


def fields_read(policy: Policy) -> dict[str, set[str]]:
    """Signal → fields that a metric, a feature or a guard reads; a signal that is only counted has none."""
    read: dict[str, set[str]] = {}
    for metric in policy.metrics.values():
        read.setdefault(metric.from_, set()).update({metric.field} - {""}, variables(metric.where))
    for feature in policy.features.values():
        named = {name for name in (feature.value, feature.by) if name is not None}
        read.setdefault(feature.from_, set()).update(named, variables(feature.where))
    for guard in policy.guards.values():
        read.setdefault(guard.from_, set()).update(variables(guard.where))
    return read
