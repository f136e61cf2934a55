"""The policy language as records: one set for the YAML an operator writes and the JSON a device obeys.

Compiling fills defaults and fixes mechanisms; it does not change the language.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from discreet_contract.durations import END, Duration, seconds

Name: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}" + END, description="lower case, digits, _")]
SignalName: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){0,3}" + END, max_length=64, description="dotted lower case"),
]
FleetName: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,39}" + END, description="lower case, digits, -")]
SchemaVersion: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]{0,3}-[0-9]{1,4}-[0-9]{1,4}" + END, description="SchemaVer: model-revision-addition"),
]
Date: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{4}-[01][0-9]-[0-3][0-9]" + END, description="YYYY-MM-DD")]
HexKey: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}" + END, description="32 bytes in hex")]
KeyId: TypeAlias = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,8}" + END, description="at most 8 of a-z, 0-9, -")]
Epsilon: TypeAlias = Annotated[float, Meta(gt=0, le=16)]
Category: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]

NONE_LABEL = "none"  # implicit last category of every category metric: the device had nothing to say

Reduction: TypeAlias = Literal["any", "count", "sum", "mean", "min", "max", "last", "most_frequent", "active_days"]
MetricType: TypeAlias = Literal["binary", "category", "count", "mean"]


class _Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=False):
    pass


class NumberField(_Record, tag_field="type", tag="number", frozen=True):
    """A bounded number; `grid` is the step it is rounded to before anything is measured."""

    min: float
    max: float
    unit: str = ""
    grid: Annotated[float, Meta(gt=0)] = 1.0
    required: bool = True


class CategoryField(_Record, tag_field="type", tag="category", frozen=True):
    """One of a closed list of values; their order is public and breaks ties."""

    values: Annotated[tuple[Category, ...], Meta(min_length=2, max_length=1000)]
    required: bool = True


class BooleanField(_Record, tag_field="type", tag="boolean", frozen=True):
    """True or false."""

    required: bool = True


Field: TypeAlias = NumberField | CategoryField | BooleanField


class Signal(_Record, frozen=True):
    """One kind of event that a device may record, and for how long."""

    version: SchemaVersion
    role: Literal["trigger", "observation", "both"]
    kind: Literal["intent", "outcome", "exposure", "context"]
    sensitivity: Literal["technical", "interaction", "sensitive"]
    why: str
    owner: str
    expires: Date
    retention: Duration
    fields: dict[Name, Field] = {}
    review: str = ""
    accepts: tuple[SchemaVersion, ...] = ()

    def accepts_version(self, version: str) -> bool:
        """Whether events of this schema version are taken."""
        return version == self.version or version in self.accepts


class Display(_Record, frozen=True):
    """How a reader scales a metric; the device never does."""

    divide: Annotated[float, Meta(gt=0)] = 1.0
    unit: str = ""


class Metric(_Record, frozen=True):
    """One bounded value per device and window, randomised, and the mean or shares of it."""

    from_: SignalName = msgspec.field(name="from")
    per_device: dict[Reduction, str]  # one entry: reduction → field, "" where it needs none
    type: MetricType
    window: Duration
    epsilon: Epsilon
    owner: str
    why: str
    where: dict[str, Any] | None = None
    bounds: tuple[float, float] | None = None
    display: Display = Display()
    mechanism: Literal["auto", "rr-1", "krr-1", "dlap-1"] = "auto"
    longitudinal: Literal["fresh"] = "fresh"
    min_devices: Annotated[int, Meta(ge=1)] = 50

    @property
    def reduction(self) -> Reduction:
        """How the window's events become one value."""
        return next(iter(self.per_device))

    @property
    def field(self) -> str:
        """The field that the reduction reads, or ""."""
        return next(iter(self.per_device.values()))

    @property
    def window_seconds(self) -> int:
        """Length of the window."""
        return seconds(self.window)


class Budget(_Record, frozen=True):
    """Caps on the sum of ε over all metrics of one device."""

    per_28_days: Annotated[float, Meta(gt=0)] = 4.0
    per_365_days: Annotated[float, Meta(gt=0)] = 24.0
    lifetime: Annotated[float, Meta(gt=0)] = 120.0


class AggregatorKey(_Record, frozen=True):
    """A public key to seal to, valid in [from, until)."""

    id: KeyId
    public_key: HexKey
    from_: Date = msgspec.field(name="from")
    until: Date


class Aggregator(_Record, frozen=True):
    """Who can open the envelopes."""

    keys: Annotated[tuple[AggregatorKey, ...], Meta(min_length=1, max_length=8)]


class Release(_Record, frozen=True):
    """Why this version exists."""

    author: str
    reason: str
    migration: str = ""


class HostCollector(_Record, frozen=True):
    """The built-in source: samples of the host it runs on."""

    signal: SignalName
    every: Duration


class Collector(_Record, frozen=True):
    """Built-in sources."""

    host: HostCollector | None = None


class Policy(_Record, frozen=True):
    """Everything that may happen on a device of this fleet."""

    discreet: Literal[1]
    fleet: FleetName
    version: Annotated[int, Meta(ge=1)]
    release: Release
    consent: Literal["opt-in", "opt-out", "managed"]
    aggregator: Aggregator
    signals: Annotated[dict[SignalName, Signal], Meta(min_length=1, max_length=200)]
    metrics: Annotated[dict[Name, Metric], Meta(max_length=200)] = {}
    budget: Budget = Budget()
    lateness: Duration = "2h"
    late_horizon: Duration = "35d"
    spread: Duration = "1h"
    receipt_buckets: Literal[1, 16, 256, 4096] = 16
    collector: Collector = Collector()
    suppress: dict[str, str] = {}  # lint rule → reason
