"""Whether features, scores, segments and flags fit the signals and one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.condition import problems as condition_problems
from discreet_contract.durations import seconds
from discreet_contract.policy.logic import (
    DEEPEST,
    MOST_PARTS,
    OPERATORS,
    evaluators,
    is_crowded,
    is_too_large,
    named_variants,
    unknown_operators,
    variables,
)
from discreet_contract.policy.model import field_kinds
from discreet_contract.policy.shape import ShapeProblem, closest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from discreet_contract.policy.model import Policy, Signal
    from discreet_contract.policy.personalization import Feature, Flag
    from discreet_contract.policy.shape import Path

# aggregate → kind of field that `value` names: "" none, "any" whichever, else that kind
_VALUES = {
    "count": "",
    "sum": "number",
    "mean": "number",
    "min": "number",
    "max": "number",
    "last": "any",
    "distinct": "any",
    "decayed_count": "",
    "decayed_sum": "number",
    "quantile": "number",
    "time_since": "",
    "active_days": "",
    "streak": "",
    "session": "",
}
_DECAYED = {"decayed_count", "decayed_sum"}
_NEEDS = {"quantile": "quantile", "distinct": "at_most", "session": "gap", "decayed_count": "half_life"} | {
    "decayed_sum": "half_life"
}
_DAY = 86_400
_LONGEST = 366 * _DAY
_MOST_GAPS = 100_000
_BY_DAY = {"active_days", "streak"}


def check_personalization(policy: Policy) -> Iterator[ShapeProblem]:
    """Every misfit of what is computed on the device for its apps."""
    for name, feature in policy.features.items():
        yield from _check_feature(policy, feature, ("features", name))
    for name, score in policy.scores.items():
        at = ("scores", name)
        if name in policy.features:
            yield ShapeProblem(at, "DUPLICATE", f"{name!r} is a feature already", on_key=True)
        yield from unknown_names(score.weights, policy.features, (*at, "weights"), "feature")
        yield from unknown_names(score.fallbacks, score.weights, (*at, "fallbacks"), "feature")
    for name, segment in policy.segments.items():
        for key, logic in (("when", segment.when), ("until", segment.until)):
            if logic is not None:
                yield from check_logic(policy, logic, ("segments", name, key), ("features", "scores"))
    for name, shared in policy.evaluators.items():
        yield from _check_targeting(policy, shared, ("evaluators", name))
        yield from _check_reference_loop(policy, name)
    for name, flag in policy.flags.items():
        yield from _check_flag(policy, flag, ("flags", name))


def unknown_names(
    names: Mapping[str, object] | tuple[str, ...], known: Mapping[str, object], path: Path, what: str
) -> Iterator[ShapeProblem]:
    """A problem for each name that stands for nothing: at the key of a mapping, at the item of a list."""
    keyed = not isinstance(names, tuple)
    for index, name in enumerate(names):
        if name not in known:
            message = f"no {what} {name!r}{closest(name, list(known))}"
            yield ShapeProblem((*path, name if keyed else index), f"UNKNOWN_{what.upper()}", message, on_key=keyed)


def unknown_name(name: str, known: Mapping[str, object], path: Path, what: str) -> Iterator[ShapeProblem]:
    """The same for one name that is the value itself."""
    if name not in known:
        yield ShapeProblem(path, f"UNKNOWN_{what.upper()}", f"no {what} {name!r}{closest(name, list(known))}")


def check_logic(policy: Policy, logic: object, path: Path, groups: tuple[str, ...]) -> Iterator[ShapeProblem]:
    """Operators are known and every variable is in one of `groups`, as `name` or as `group.name`."""
    yield from check_operators(logic, path)
    yield from _check_size(policy, logic, path)
    for name in dict.fromkeys(evaluators(logic)):
        yield from unknown_name(name, policy.evaluators, path, "evaluator")
    known = {*groups, *(name for group in groups for name in getattr(policy, group))}
    known |= {f"{group}.{name}" for group in groups for name in getattr(policy, group)}
    for name in dict.fromkeys(variables(logic)):
        first, _, rest = name.partition(".")
        owner = f"{first}.{rest.partition('.')[0]}" if rest and first in groups else first
        if owner not in known:
            yield ShapeProblem(path, "UNKNOWN_VARIABLE", f"nothing here is named {name!r}{closest(owner, list(known))}")


def check_operators(
    logic: object, path: Path, known: frozenset[str] = OPERATORS, wanted: str = "JSONLogic and flagd's own are known"
) -> Iterator[ShapeProblem]:
    """Every mapping of a condition is one operator out of `known`."""
    if is_crowded(logic):
        yield ShapeProblem(
            path, "CONDITION", 'a condition is one operator and its arguments, like {">": [{var: x}, 1]}'
        )
    for operation in dict.fromkeys(unknown_operators(logic, known)):
        yield ShapeProblem(path, "CONDITION", f"unknown operator {operation!r}; {wanted}")


def _check_feature(policy: Policy, feature: Feature, path: Path) -> Iterator[ShapeProblem]:
    signal = policy.signals.get(feature.from_)
    if signal is None:
        yield from unknown_name(feature.from_, policy.signals, (*path, "from"), "signal")
        return
    if feature.where is not None:
        for message in condition_problems(feature.where, field_kinds(signal)):
            yield ShapeProblem((*path, "where"), "CONDITION", message)
    yield from _check_value(signal, feature, path)
    yield from _check_grouping(signal, feature, path)
    yield from _check_span(feature, path)
    if (feature.default is not None) != (feature.fallback == "default"):
        yield ShapeProblem(path, "FEATURE", "`default` and `fallback: default` go together")


def _check_value(signal: Signal, feature: Feature, path: Path) -> Iterator[ShapeProblem]:
    wanted, given = _VALUES[feature.aggregate], feature.value
    if not wanted:
        if given is not None:
            yield ShapeProblem((*path, "value"), "FEATURE", f"{feature.aggregate!r} reads no field")
        return
    if given is None:
        yield ShapeProblem(path, "FEATURE", f"{feature.aggregate!r} needs `value`: the field it reads")
    elif given not in signal.fields:
        near = closest(given, list(signal.fields))
        yield ShapeProblem((*path, "value"), "UNKNOWN_FIELD", f"signal {feature.from_!r} has no field {given!r}{near}")
    elif wanted == "number" and field_kinds(signal)[given] != "number":
        message = f"{feature.aggregate!r} reads a number, {given!r} is a {field_kinds(signal)[given]}"
        yield ShapeProblem((*path, "value"), "FEATURE", message)


def _check_grouping(signal: Signal, feature: Feature, path: Path) -> Iterator[ShapeProblem]:
    if feature.by is None:
        if feature.top is not None:
            yield ShapeProblem((*path, "top"), "FEATURE", "`top` wants `by`: the category it ranks")
    elif feature.by not in signal.fields:
        near = closest(feature.by, list(signal.fields))
        yield ShapeProblem(
            (*path, "by"), "UNKNOWN_FIELD", f"signal {feature.from_!r} has no field {feature.by!r}{near}"
        )
    elif field_kinds(signal)[feature.by] != "category":
        yield ShapeProblem((*path, "by"), "FEATURE", f"{feature.by!r} is no category, so nothing can be grouped by it")


def _check_span(feature: Feature, path: Path) -> Iterator[ShapeProblem]:
    for aggregate, key in _NEEDS.items():
        if feature.aggregate == aggregate and getattr(feature, key) is None:
            yield ShapeProblem(path, "FEATURE", f"{aggregate!r} needs `{key}`")
    for key in dict.fromkeys(_NEEDS.values()):
        if getattr(feature, key) is not None and _NEEDS.get(feature.aggregate) != key:
            yield ShapeProblem((*path, key), "FEATURE", f"{feature.aggregate!r} takes no `{key}`")
    if feature.window is None:
        if feature.aggregate not in _DECAYED | {"last", "time_since"}:
            yield ShapeProblem(path, "FEATURE", f"{feature.aggregate!r} needs `window`")
    elif not 60 <= seconds(feature.window) <= _LONGEST:
        yield ShapeProblem((*path, "window"), "WINDOW", "a feature's window is one minute to 366 days")
    for key in ("half_life", "gap", "ttl"):
        duration = getattr(feature, key)
        if duration is not None and seconds(duration) < 1:
            yield ShapeProblem((*path, key), "WINDOW", f"`{key}` is longer than nothing")
    yield from _check_state(feature, path)


def _check_state(feature: Feature, path: Path) -> Iterator[ShapeProblem]:
    """What a device could not keep in a bounded number of buckets, or would never read."""
    if feature.alignment == "tumbling":
        if feature.window is None:
            yield ShapeProblem((*path, "alignment"), "FEATURE", "`tumbling` wants a `window`")
        elif feature.half_life is not None:
            yield ShapeProblem((*path, "alignment"), "FEATURE", "what decays has no border; leave out `tumbling`")
    gaps = seconds(feature.window or "0s") / max(1, seconds(feature.gap or "1d"))
    if feature.gap is not None and gaps > _MOST_GAPS:
        message = f"a window has at most {_MOST_GAPS} gaps: so many sessions a device can keep"
        yield ShapeProblem((*path, "gap"), "FEATURE", message)
    if feature.fallback == "last_known" and feature.ttl is None:
        message = "`fallback: last_known` wants `ttl`: how long the last known value is kept after its window"
        yield ShapeProblem(path, "FEATURE", message)
    by_day = feature.aggregate in _BY_DAY and feature.window is not None
    if by_day and seconds(feature.window or "0s") % _DAY:
        yield ShapeProblem((*path, "window"), "WINDOW", f"{feature.aggregate!r} counts whole days, so its window does")


def _check_flag(policy: Policy, flag: Flag, path: Path) -> Iterator[ShapeProblem]:
    if flag.default_variant is not None:
        yield from unknown_name(flag.default_variant, flag.variants, (*path, "defaultVariant"), "variant")
    kinds = {_json_type(value) for value in flag.variants.values()}
    if len(kinds) > 1 or not kinds <= {bool, str, float, dict}:
        message = "variants of one flag have one type: true or false, text, number or mapping"
        yield ShapeProblem((*path, "variants"), "FLAG", message)
    if not flag.targeting:
        return
    at = (*path, "targeting")
    yield from _check_targeting(policy, flag.targeting, at)
    booleans = {"true", "false"} if _json_type(next(iter(flag.variants.values()))) is bool else set()
    for variant in dict.fromkeys(named_variants(flag.targeting)):
        if variant not in booleans:
            yield from unknown_name(variant, flag.variants, at, "variant")


def _check_targeting(policy: Policy, logic: object, path: Path) -> Iterator[ShapeProblem]:
    """What an app's own context holds is unknown here; what the agent adds to it is not."""
    yield from check_operators(logic, path)
    yield from _check_size(policy, logic, path)
    for name in dict.fromkeys(variables(logic)):
        group, _, rest = name.partition(".")
        if rest and group in {"features", "scores", "segments", "experiments"}:
            yield from unknown_name(rest.partition(".")[0], getattr(policy, group), path, group[:-1])
    for name in dict.fromkeys(evaluators(logic)):
        yield from unknown_name(name, policy.evaluators, path, "evaluator")


def _check_size(policy: Policy, logic: object, path: Path) -> Iterator[ShapeProblem]:
    if is_too_large(logic, policy.evaluators):
        message = f"a rule has at most {MOST_PARTS} parts, {DEEPEST} deep, with all that it takes in by `$ref`"
        yield ShapeProblem(path, "CONDITION", message)


def _check_reference_loop(policy: Policy, name: str) -> Iterator[ShapeProblem]:
    seen: set[str] = set()
    waiting = list(evaluators(policy.evaluators[name]))
    while waiting:
        reached = waiting.pop()
        if reached == name:
            yield ShapeProblem(("evaluators", name), "LOOP", "this condition takes in itself")
            return
        if reached not in seen and reached in policy.evaluators:
            seen.add(reached)
            waiting += evaluators(policy.evaluators[reached])


def _json_type(value: object) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
