"""Features, scores, segments and flags: what a device learns from its own events and tells its apps.

Nothing here leaves the device.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from discreet_contract.durations import END, Duration
from discreet_contract.policy.terms import Label, Logic, Name, Record, SignalName

Aggregate: TypeAlias = Literal[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "last",
    "distinct",
    "decayed_count",
    "decayed_sum",
    "quantile",
    "time_since",
    "active_days",
    "streak",
    "session",
]


ModelFile: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\.json" + END,  # no "..", no root
        max_length=200,
        description="a *.json in the policy's folder",
    ),
]


class Feature(Record, frozen=True):
    """A value computed on the device from one signal's events, for personalization only."""

    from_: SignalName = msgspec.field(name="from")
    aggregate: Aggregate
    value: Name | None = None
    by: Name | None = None
    top: Annotated[int, Meta(ge=1, le=100)] | None = None
    where: Logic | None = None
    window: Duration | None = None
    alignment: Literal["sliding", "tumbling"] = "sliding"
    half_life: Duration | None = None
    ttl: Duration | None = None
    quantile: Annotated[float, Meta(gt=0, lt=1)] | None = None
    at_most: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    gap: Duration | None = None
    measure: Literal["count", "length"] = "count"
    fallback: Literal["default", "last_known", "unavailable"] = "unavailable"
    default: float | str | bool | None = None
    why: str = ""


class Score(Record, frozen=True):
    """A weighted sum of features, or the logistic function of one."""

    kind: Literal["linear", "logistic"]
    weights: Annotated[dict[Name, float], Meta(min_length=1, max_length=100)]
    bias: float = 0.0
    fallbacks: dict[Name, float] = {}
    why: str = ""
    model: ModelFile | None = None


class Segment(Record, frozen=True):
    """A named group that a device puts itself in."""

    when: Logic
    until: Logic | None = None
    min_stay: Duration = "0s"
    why: str = ""


class Flag(Record, frozen=True):
    """A switch that apps read, in flagd's own form."""

    state: Literal["ENABLED", "DISABLED"]
    variants: Annotated[dict[Label, Any], Meta(min_length=1, max_length=100)]
    default_variant: str | None = msgspec.field(name="defaultVariant", default=None)
    targeting: Logic = {}
    metadata: dict[str, str | float | bool] = {}
