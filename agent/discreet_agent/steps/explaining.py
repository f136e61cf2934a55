"""Why a flag has its value: the rule, what it read of this device, and under which versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discreet_agent.personal.values import Failure
from discreet_agent.steps.pins import described
from discreet_agent.steps.stays import definition_hash
from discreet_contract.policy.logic import evaluators, variables

if TYPE_CHECKING:
    from discreet_agent.personal.values import Answer, FeatureValue
    from discreet_agent.senders import Speaker
    from discreet_agent.steps.device import Device
    from discreet_agent.steps.personalize import Personalizing
    from discreet_contract.policy.model import Policy
    from discreet_contract.policy.personalization import Segment


def explain(personalizing: Personalizing, device: Device, answer: Answer, speaker: Speaker) -> dict[str, Any]:
    """Plain builtins, for a person or a program; of this device's values only those that this speaker may read."""
    key, rules = answer.key, device.rules
    flag = rules.flags[key]
    pin = personalizing.pinning.pins()[key] if personalizing.pinned(key) is not None else None
    segments, experiments = personalizing.read_by(key, "segments"), personalizing.read_by(key, "experiments")
    shown = {name for name in experiments if _may_know(rules, name, speaker)}
    features = personalizing.read_by(key, "features") | _behind(rules, segments, personalizing.read_by(key, "scores"))
    is_open = all(map(speaker.may_read_feature, features)) and all(map(speaker.may_read_segment, segments))
    is_open = is_open and shown == experiments
    said: dict[str, Any] = {
        "flag": key,
        "answer": _answer(answer),
        "definition": definition_hash(flag),
        "policy": {"version": rules.version, "hash": device.policy.digest.hex()},
        "rule": {
            "state": flag.state,
            "default": flag.default_variant,
            "targeting": flag.targeting if is_open else None,
        },
    }
    if not is_open:  # its rule would name them
        said["hidden"] = "this flag reads features, segments or experiments that do not exist for this app"
    if device.why_off is not None:
        said["off"] = device.why_off
    if rules.kill.personalization or key in rules.kill.flags:
        said["killed"] = "all personalization" if rules.kill.personalization else "this flag"
    if pin is not None:
        said["pinned"] = described(pin)
        if speaker.flags is not None:  # the owner's words, and what a guard saw, are not for apps
            del said["pinned"]["reason"]
    said["features"] = [_feature(value) for value in personalizing.features(speaker) if value.name in features]
    said["scores"] = [
        {"name": score.name, "value": score.value, "fallbacks": list(score.fallbacks)}
        for score in personalizing.scores(speaker)
        if score.name in personalizing.read_by(key, "scores")
    ]
    said["segments"] = [
        {"name": state.name, "inside": state.is_inside, "since_ms": state.since_ms}
        for state in personalizing.segments(speaker)
        if state.name in segments
    ]
    trials = personalizing.experiments() if personalizing.is_on else []
    said["experiments"] = [found for found in trials if found["name"] in shown]
    return said


def _may_know(policy: Policy, name: str, speaker: Speaker) -> bool:
    """Of an experiment: its flag exists for this speaker, and what makes a device eligible does as well."""
    experiment = policy.experiments[name]
    if not speaker.may_read_flag(experiment.flag):
        return False
    read = _read(policy, experiment.eligible)
    segments = read & policy.segments.keys()
    features = (read & policy.features.keys()) | _behind(policy, segments, read & policy.scores.keys())
    return all(map(speaker.may_read_feature, features)) and all(map(speaker.may_read_segment, segments))


def _behind(policy: Policy, segments: set[str], scores: set[str]) -> set[str]:
    """Features that these segments and scores are made of."""
    named = {name for segment in segments for name in _read_by_segment(policy, policy.segments[segment])}
    scores = scores | (named & policy.scores.keys())
    return (named & policy.features.keys()) | {name for score in scores for name in policy.scores[score].weights}


def _read_by_segment(policy: Policy, segment: Segment) -> set[str]:
    return _read(policy, segment.when) | _read(policy, segment.until)


def _read(policy: Policy, condition: object) -> set[str]:
    """Names that a condition may read, by all their parts: `seconds`, `features.seconds`, `top_genres.news`."""
    names = set(variables(condition))
    if any(evaluators(condition)):
        names.update(variables(list(policy.evaluators.values())))
    return {part for name in names for part in name.split(".")}


def _answer(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Failure):
        return {"error": answer.code.value, "detail": answer.detail}
    return {"value": answer.value, "variant": answer.variant, "reason": answer.reason.value}


def _feature(value: FeatureValue) -> dict[str, Any]:
    return {
        "name": value.name,
        "version": value.version,
        "value": value.value,
        "as_of_ms": value.as_of_ms,
        "coverage": round(value.coverage, 4),
        "fallback": value.fallback.value,
        "at_least": value.at_least,
        "is_partial": value.is_partial,
    }
