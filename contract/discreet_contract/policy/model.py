"""The policy language as records: one set for the YAML an operator writes and the JSON a device obeys.

Compiling fills defaults and fixes mechanisms; it does not change the language.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from discreet_contract.durations import Duration, seconds
from discreet_contract.policy.operation import Contract, Guard, Kill, Outbox, Retention, Sender
from discreet_contract.policy.personalization import Feature, Flag, Score, Segment
from discreet_contract.policy.terms import (
    AttributeName,
    Category,
    Date,
    Epsilon,
    ExperimentName,
    FleetName,
    HexKey,
    KeyId,
    Label,
    Logic,
    Name,
    Percent,
    Record,
    Salt,
    SchemaVersion,
    SignalName,
)
from discreet_contract.policy.trials import Cohort, Experiment, Layer

NONE_LABEL = "none"  # implicit last category of every category metric: the device had nothing to say

Reduction: TypeAlias = Literal["any", "count", "sum", "mean", "min", "max", "last", "most_frequent", "active_days"]
MetricType: TypeAlias = Literal["binary", "category", "histogram", "multi_select", "open", "count", "mean"]
MechanismId: TypeAlias = Literal[
    "auto",
    "rr-1",
    "krr-1",
    "sss-1",
    "llh-1",
    "dlap-1",
    "dbit-1",
    "dlev-1",
    "dmix-1",
    "msel-krr-1",
    "msel-sss-1",
    "msel-llh-1",
    "lgrr-1",
]
Dimension: TypeAlias = Literal["experiments", "platform", "release"]  # public facts only: DESIGN.md §5


class NumberField(Record, tag_field="type", tag="number", frozen=True):
    """A bounded number; `grid` is the step it is rounded to before anything is measured."""

    min: float
    max: float
    unit: str = ""
    grid: Annotated[float, Meta(gt=0)] = 1.0
    required: bool = True
    default: float | None = None


class CategoryField(Record, tag_field="type", tag="category", frozen=True):
    """One of a closed list of values; their order is public and breaks ties."""

    values: Annotated[tuple[Category, ...], Meta(min_length=2, max_length=10_000)]
    required: bool = True
    default: str | None = None


class BooleanField(Record, tag_field="type", tag="boolean", frozen=True):
    """True or false."""

    required: bool = True
    default: bool | None = None


class TextField(Record, tag_field="type", tag="text", frozen=True):
    """Any text, from an open vocabulary. Only an `open` metric reads it."""

    max_length: Annotated[int, Meta(ge=1, le=256)] = 64
    required: bool = True
    default: str | None = None


Field: TypeAlias = NumberField | CategoryField | BooleanField | TextField


def kind_of(field: Field) -> str:
    """A field's kind, as conditions and reductions know it."""
    match field:
        case NumberField():
            return "number"
        case CategoryField():
            return "category"
        case TextField():
            return "text"
    return "boolean"


class Otlp(Record, frozen=True):
    """An OpenTelemetry metric whose data points are events of a signal."""

    metric: AttributeName
    value: Name
    unit: Annotated[str, Meta(max_length=63)] = ""
    attributes: dict[Name, AttributeName] = {}
    only: dict[AttributeName, Annotated[str, Meta(max_length=255)]] = {}


class Signal(Record, frozen=True):
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
    max_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    otlp: Otlp | None = None

    def accepts_version(self, version: str) -> bool:
        """Whether events of this schema version are taken."""
        return version == self.version or version in self.accepts


def field_kinds(signal: Signal) -> dict[str, str]:
    """Each field's kind: what a `where` condition is checked against."""
    return {name: kind_of(field) for name, field in signal.fields.items()}


class Display(Record, frozen=True):
    """How a reader scales a metric; the device never does."""

    divide: Annotated[float, Meta(gt=0)] = 1.0
    unit: str = ""


class Metric(Record, frozen=True):
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
    mechanism: MechanismId = "auto"
    longitudinal: Literal["fresh", "memoised"] = "fresh"
    min_devices: Annotated[int, Meta(ge=1)] = 50
    by: tuple[Dimension, ...] = ()
    rotate: Name | None = None
    edges: Annotated[tuple[float, ...], Meta(max_length=1023)] = ()
    at_most: Annotated[int, Meta(ge=1, le=16)] | None = None
    salt: Salt | Literal[""] = ""
    dictionary: Annotated[tuple[Category, ...], Meta(max_length=10_000)] = ()
    redraw: Duration | None = None
    draws: Annotated[int, Meta(ge=1, le=100)] = 1

    @property
    def is_memoised(self) -> bool:
        """Whether its noise is drawn once and repeated."""
        return self.longitudinal == "memoised"

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


class Budget(Record, frozen=True):
    """Caps on the sum of ε over all metrics of one device."""

    per_28_days: Annotated[float, Meta(gt=0)] = 4.0
    per_365_days: Annotated[float, Meta(gt=0)] = 24.0
    lifetime: Annotated[float, Meta(gt=0)] = 120.0
    device_life: Duration = "1095d"
    exhaustible: str = ""


class AggregatorKey(Record, frozen=True):
    """A public key to seal to, valid in [from, until)."""

    id: KeyId
    public_key: HexKey
    from_: Date = msgspec.field(name="from")
    until: Date


class Aggregator(Record, frozen=True):
    """Who can open the envelopes."""

    keys: Annotated[tuple[AggregatorKey, ...], Meta(min_length=1, max_length=8)]


class Release(Record, frozen=True):
    """Why this version exists."""

    author: str
    reason: str
    migration: str = ""


class HostCollector(Record, frozen=True):
    """The built-in source: samples of the host it runs on."""

    signal: SignalName
    every: Duration


class AnomalyCollector(Record, frozen=True):
    """The built-in source: what the agent finds unlike the usual in its other sources."""

    signal: SignalName


class Collector(Record, frozen=True):
    """Built-in sources."""

    host: HostCollector | None = None
    anomalies: AnomalyCollector | None = None


class Policy(Record, frozen=True):
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
    padding: Literal[256, 512, 1024, 4096] = 256
    expected_devices: Annotated[int, Meta(ge=1)] | None = None
    undeclared: Literal["drop", "refuse"] = "drop"
    collector: Collector = Collector()
    retention: Retention = Retention()
    outbox: Outbox = Outbox()
    senders: Annotated[dict[Name, Sender], Meta(max_length=100)] = {}
    contracts: Annotated[dict[SignalName, Contract], Meta(max_length=200)] = {}
    features: Annotated[dict[Name, Feature], Meta(max_length=200)] = {}
    scores: Annotated[dict[Name, Score], Meta(max_length=100)] = {}
    segments: Annotated[dict[Name, Segment], Meta(max_length=100)] = {}
    flags: Annotated[dict[Label, Flag], Meta(max_length=200)] = {}
    evaluators: Annotated[dict[Label, Logic], Meta(max_length=100)] = {}
    cohorts: Annotated[dict[Name, Cohort], Meta(max_length=100)] = {}
    holdout: Percent = "0%"
    layers: Annotated[dict[Name, Layer], Meta(max_length=100)] = {}
    experiments: Annotated[dict[ExperimentName, Experiment], Meta(max_length=100)] = {}
    guards: Annotated[dict[Name, Guard], Meta(max_length=100)] = {}
    kill: Kill = Kill()
    suppress: dict[str, str] = {}  # lint rule → reason
