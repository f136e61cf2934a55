"""What an app may be told: values of features, scores and segments, answers of flags, and why.

Nothing here prints a value: `repr` shows names only (P1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

Plain: TypeAlias = float | int | str | bool
Output: TypeAlias = Plain | dict[str, Plain]  # with `by`: category → value, largest first


class Fallback(StrEnum):
    """Where a feature's value comes from, if not from its events."""

    NONE = ""  # from its events
    DEFAULT = "default"
    LAST_KNOWN = "last_known"
    UNAVAILABLE = "unavailable"  # there is no value at all


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """One feature, read at one moment."""

    name: str
    version: str  # hash of its definition
    value: Output | None = field(repr=False)  # None: unavailable
    as_of_ms: int  # the moment that the value stands for
    coverage: float  # share of its window in which its source was alive, 0 to 1
    fallback: Fallback = Fallback.NONE
    at_least: bool = False  # it is that or more: a bound was reached
    is_partial: bool = False  # part of what it should have seen could not be read any more


@dataclass(frozen=True, slots=True)
class ScoreValue:
    """One score."""

    name: str
    value: float | None = field(repr=False)  # None: a feature it needs has none, and it declares no fallback for it
    fallbacks: tuple[str, ...] = ()  # features for which its own fallback was taken


@dataclass(frozen=True, slots=True)
class SegmentState:
    """One segment: whether the device is in it, and since when."""

    name: str
    is_inside: bool = field(repr=False)
    since_ms: int | None  # None: it never was inside


class Names(dict[str, bool]):
    """Name → whether it holds. Rules read it as `{var: segments.binge}` and as `{in: [binge, {var: segments}]}`."""


class Reason(StrEnum):
    """Why a flag has this value: OpenFeature's own words, as far as they are used."""

    STATIC = "STATIC"
    DEFAULT = "DEFAULT"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"


class FlagError(StrEnum):
    """Why a flag has no value: OpenFeature's own codes."""

    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    PARSE_ERROR = "PARSE_ERROR"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    GENERAL = "GENERAL"


@dataclass(frozen=True, slots=True)
class Resolution:
    """A flag's answer. `variant` None: the app takes its own default, and there is no value."""

    key: str
    value: Any = field(repr=False)
    variant: str | None = field(repr=False)
    reason: Reason
    metadata: dict[str, str | float | bool] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """A flag that could not be answered. `detail` names a rule, never a value."""

    key: str
    code: FlagError
    detail: str


Answer: TypeAlias = Resolution | Failure
