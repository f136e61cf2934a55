"""Where a policy changed → what the change asks of others, and what it does to privacy.

A table of places, first match wins; `*` stands for one name, `**` for any rest. A place that no
row knows, such as a section newer than this table, is judged with suspicion: what came is
compatible but regressing, what changed or went is breaking and regressing.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from discreet_contract.durations import seconds
from discreet_contract.policy.tree import ABSENT, same

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_contract.policy.tree import Difference, Path


class Compatibility(IntEnum):
    """What a change asks of emitters, devices and readers; larger asks more."""

    COSMETIC = 0
    COMPATIBLE = 1
    BREAKING = 2


class Privacy(IntEnum):
    """What a change does to the people whose devices these are; larger is worse."""

    IMPROVING = -1
    NEUTRAL = 0
    REGRESSING = 1


Verdict = tuple[Compatibility, Privacy]


_COSMETIC = (Compatibility.COSMETIC, Privacy.NEUTRAL)
_COMPATIBLE = (Compatibility.COMPATIBLE, Privacy.NEUTRAL)
_BREAKING = (Compatibility.BREAKING, Privacy.NEUTRAL)
_WORSE = (Compatibility.COMPATIBLE, Privacy.REGRESSING)
_SUSPECT = (Compatibility.BREAKING, Privacy.REGRESSING)


def classify(difference: Difference) -> Verdict:
    """Verdict on one difference. Total: whatever the place and the values, there is one."""
    for pattern, judge in RULES:
        if _matches(pattern.split("/"), difference.path):
            try:
                return judge(difference.old, difference.new)
            except (TypeError, ValueError, KeyError, IndexError, AttributeError):
                break  # values of a form this row does not know
    return _WORSE if difference.old is ABSENT else _SUSPECT


def _matches(pattern: list[str], path: Path) -> bool:
    if pattern and pattern[-1] == "**":
        return len(path) >= len(pattern) - 1 and _matches(pattern[:-1], path[: len(pattern) - 1])
    return len(pattern) == len(path) and all(p in ("*", key) for p, key in zip(pattern, path, strict=True))


def _always(verdict: Verdict) -> Callable[[Any, Any], Verdict]:
    return lambda _old, _new: verdict


def _rising(compatibility: Compatibility, rises: Privacy, measure: Callable[[Any], Any] = float) -> Any:
    """A value whose rise does `rises` to privacy, and whose fall the opposite."""

    def judge(old: Any, new: Any) -> Verdict:
        before, after = measure(old), measure(new)
        if before == after:
            return compatibility, Privacy.NEUTRAL
        return compatibility, rises if after > before else Privacy(-rises)

    return judge


def _came_or_went(came: Verdict, went: Verdict) -> Callable[[Any, Any], Verdict]:
    def judge(old: Any, new: Any) -> Verdict:
        if old is ABSENT:
            return came
        return went if new is ABSENT else _SUSPECT

    return judge


def _widens(*, upward: bool) -> Callable[[Any, Any], Verdict]:
    """A bound of a field: wider takes more in, narrower refuses what was legal."""

    def judge(old: Any, new: Any) -> Verdict:
        wider = (float(new) > float(old)) == upward
        return _WORSE if wider else (Compatibility.BREAKING, Privacy.IMPROVING)

    return judge


def _field(old: Any, new: Any) -> Verdict:
    if old is ABSENT:
        return _SUSPECT if new.get("required", True) else _WORSE
    return (Compatibility.BREAKING, Privacy.IMPROVING) if new is ABSENT else _SUSPECT


def _values(old: Any, new: Any) -> Verdict:
    """Values appended extend a list; any other change moves the order that breaks ties and numbers payloads."""
    if same(list(new)[: len(old)], list(old)):
        return _WORSE
    added, removed = set(new) - set(old), set(old) - set(new)
    if added:
        return _SUSPECT
    return Compatibility.BREAKING, Privacy.IMPROVING if removed else Privacy.NEUTRAL


def _required(_old: Any, new: Any) -> Verdict:
    return _BREAKING if new else _COMPATIBLE


def _undeclared(_old: Any, new: Any) -> Verdict:
    return _BREAKING if new == "refuse" else _COMPATIBLE


def _rate(old: Any, new: Any) -> Verdict:
    """A rate limit is no part of the schema; without one, or under a higher one, more is recorded."""
    grows = new is None or (old is not None and new > old)
    return Compatibility.COMPATIBLE, Privacy.REGRESSING if grows else Privacy.IMPROVING


def _default(old: Any, _new: Any) -> Verdict:
    """A first default lets older events in that lacked the field; any other change makes them mean something else."""
    return _COMPATIBLE if old is None else _BREAKING


def _accepts(old: Any, new: Any) -> Verdict:
    return _BREAKING if set(old) - set(new) else _COMPATIBLE


def _scope(*, reads: bool) -> Callable[[Any, Any], Verdict]:
    """What a sender may emit, or read: less breaks it; reading more tells a program more of the person."""

    def judge(old: Any, new: Any) -> Verdict:
        if set(old) - set(new):
            return Compatibility.BREAKING, Privacy.REGRESSING if reads and set(new) - set(old) else Privacy.NEUTRAL
        return _WORSE if reads else _COMPATIBLE

    return judge


def _consent(old: Any, new: Any) -> Verdict:
    order = ["opt-in", "opt-out", "managed"]
    weaker = order.index(new) > order.index(old)
    return Compatibility.BREAKING, Privacy.REGRESSING if weaker else Privacy.IMPROVING


def _sensitivity(old: Any, new: Any) -> Verdict:
    order = ["technical", "interaction", "sensitive"]
    return _WORSE if order.index(new) < order.index(old) else _COMPATIBLE


def _role(old: Any, _new: Any) -> Verdict:
    return (Compatibility.COMPATIBLE, Privacy.IMPROVING) if old == "both" else _WORSE


def _keys(old: Any, new: Any) -> Verdict:
    """A key that came or went is rotation; an id that now means another key is not."""
    before = {key["id"]: key["public_key"] for key in old}
    swapped = any(before.get(key["id"], key["public_key"]) != key["public_key"] for key in new)
    return _SUSPECT if swapped else _COMPATIBLE


def _otlp(old: Any, new: Any) -> Verdict:
    """A source that came collects more; one that went leaves its senders refused."""
    if old in (None, ABSENT):
        return _WORSE
    return (Compatibility.BREAKING, Privacy.IMPROVING) if new in (None, ABSENT) else _SUSPECT


def _collector(_old: Any, new: Any) -> Verdict:
    if not new or new is ABSENT:
        return Compatibility.COMPATIBLE, Privacy.IMPROVING
    return _WORSE


_WORDS = ("why", "owner", "review")
_up_is_worse = _rising(Compatibility.COMPATIBLE, Privacy.REGRESSING)
_longer_is_worse = _rising(Compatibility.COMPATIBLE, Privacy.REGRESSING, seconds)
_longer_is_better = _rising(Compatibility.COMPATIBLE, Privacy.IMPROVING, seconds)

RULES: tuple[tuple[str, Callable[[Any, Any], Verdict]], ...] = (
    ("version", _always(_COSMETIC)),
    ("release/**", _always(_COSMETIC)),
    ("suppress/**", _always(_COSMETIC)),
    ("consent", _consent),
    ("aggregator/keys", _keys),
    ("budget/*", _up_is_worse),
    ("lateness", _always(_COMPATIBLE)),
    ("undeclared", _undeclared),
    ("contracts/**", _always(_COMPATIBLE)),  # observed on the device, shown there; nothing leaves
    ("late_horizon", _longer_is_worse),
    ("spread", _longer_is_better),
    ("receipt_buckets", _up_is_worse),  # more buckets: fewer devices share a topic
    ("collector/host/every", _longer_is_better),
    ("collector/**", _collector),
    ("signals/*", _came_or_went(_WORSE, (Compatibility.BREAKING, Privacy.IMPROVING))),
    ("signals/*/version", _always(_COSMETIC)),
    *((f"signals/*/{word}", _always(_COSMETIC)) for word in _WORDS),
    ("signals/*/kind", _always(_COMPATIBLE)),
    ("signals/*/role", _role),
    ("signals/*/sensitivity", _sensitivity),
    ("signals/*/expires", _rising(Compatibility.COMPATIBLE, Privacy.REGRESSING, str)),
    ("signals/*/retention", _longer_is_worse),
    ("signals/*/accepts", _accepts),
    ("signals/*/max_per_minute", _rate),
    ("signals/*/otlp", _otlp),
    ("signals/*/otlp/**", _always(_SUSPECT)),  # events of this signal now mean, or tell, something else
    ("signals/*/fields/*", _field),
    ("signals/*/fields/*/min", _widens(upward=False)),
    ("signals/*/fields/*/max", _widens(upward=True)),
    ("signals/*/fields/*/values", _values),
    ("signals/*/fields/*/required", _required),
    ("signals/*/fields/*/default", _default),
    ("signals/*/fields/*/grid", _rising(Compatibility.COMPATIBLE, Privacy.IMPROVING)),
    ("signals/*/fields/*/unit", _always(_BREAKING)),
    ("metrics/*", _came_or_went(_WORSE, (Compatibility.BREAKING, Privacy.IMPROVING))),
    *((f"metrics/*/{word}", _always(_COSMETIC)) for word in _WORDS),
    ("metrics/*/display/**", _always(_COMPATIBLE)),
    ("metrics/*/epsilon", _rising(Compatibility.BREAKING, Privacy.REGRESSING)),
    ("metrics/*/window", _rising(Compatibility.BREAKING, Privacy.IMPROVING, seconds)),
    ("metrics/*/min_devices", _rising(Compatibility.BREAKING, Privacy.IMPROVING)),
    ("metrics/*/bounds", _always(_BREAKING)),
    ("metrics/*/mechanism", _always(_BREAKING)),
    ("scores/*/model", _always(_COSMETIC)),  # what the file holds stands beside its name
    ("senders/*/signals", _scope(reads=False)),
    *((f"senders/*/{scope}", _scope(reads=True)) for scope in ("features", "segments", "flags")),
)
