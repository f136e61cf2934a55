"""Records of the policy language as JSON builtins.

Every default of the language's first release is written out. A key that came later is left out where
it has its default, so that a policy signed before it came has the same canonical form for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from discreet_contract.policy.model import Metric, Signal
from discreet_contract.policy.personalization import Score
from discreet_contract.policy.trials import Experiment

if TYPE_CHECKING:
    from discreet_contract.policy.model import Policy

# Keys that came after the first release. Only ever appended to; a default never changes.
_LATER_IN_METRICS = ("edges", "at_most", "salt", "dictionary", "redraw", "draws")
_LATER_IN_SIGNALS = ("max_per_minute", "otlp")
_LATER_IN_EXPERIMENTS = ("slots",)
_LATER_IN_SCORES = ("model",)


def _defaults(record: type[msgspec.Struct], later: tuple[str, ...]) -> dict[str, Any]:
    return {
        field.encode_name: msgspec.to_builtins(field.default)
        for field in msgspec.structs.fields(record)
        if field.encode_name in later
    }


_METRIC_DEFAULTS = _defaults(Metric, _LATER_IN_METRICS)
_SIGNAL_DEFAULTS = _defaults(Signal, _LATER_IN_SIGNALS)
_EXPERIMENT_DEFAULTS = _defaults(Experiment, _LATER_IN_EXPERIMENTS)
_SCORE_DEFAULTS = _defaults(Score, _LATER_IN_SCORES)


def plain_policy(policy: Policy) -> dict[str, Any]:
    """A policy as the tree that is signed and hashed."""
    tree: dict[str, Any] = msgspec.to_builtins(policy)
    tree["metrics"] = {name: plain_metric(metric) for name, metric in policy.metrics.items()}
    tree["signals"] = {name: _without(signal, _SIGNAL_DEFAULTS) for name, signal in tree["signals"].items()}
    tree["experiments"] = {name: plain_experiment(one) for name, one in policy.experiments.items()}
    tree["scores"] = {name: _without(score, _SCORE_DEFAULTS) for name, score in tree["scores"].items()}
    if policy.collector.anomalies is None:  # came later, too
        del tree["collector"]["anomalies"]
    return tree


def plain_metric(metric: Metric) -> dict[str, Any]:
    """One metric in the same form."""
    return _without(msgspec.to_builtins(metric), _METRIC_DEFAULTS)


def plain_experiment(experiment: Experiment) -> dict[str, Any]:
    """One experiment in the same form."""
    return _without(msgspec.to_builtins(experiment), _EXPERIMENT_DEFAULTS)


def _without(tree: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tree.items() if key not in defaults or value != defaults[key]}
