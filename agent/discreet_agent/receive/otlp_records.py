"""What OTLP says, whichever way it was encoded: log records and data points, and what keeps one from being read.

Attributes keep numbers, text and true/false; a list, a map or bytes becomes `UNFIT`, so that its value is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from discreet_contract.condition import FieldValue

MAX_RECORDS = 10_000  # in one request, as in one batch of the socket
MAX_ATTRIBUTES = 200_000  # in one request
MAX_RECORD_BYTES = 65_536  # of one log record, or one metric's data point


class Unfit(Enum):
    """Stands for a value that no field can hold."""

    UNFIT = auto()


Value: TypeAlias = FieldValue | Unfit
UNFIT = Unfit.UNFIT


class UndecodableError(ValueError):
    """Not OTLP. The text names what is wrong, never a value."""


class TooManyRecordsError(ValueError):
    """More in one request than is taken at once."""


@dataclass(frozen=True, slots=True, repr=False)
class LogRecord:
    """One log record. Times in nanoseconds since 1970, 0 where not given."""

    event_name: str
    time_ns: int
    observed_ns: int
    attributes: dict[str, Value]
    scope_version: str
    schema_url: str


class Kind(Enum):
    """What a data point is of."""

    GAUGE = auto()
    TOTAL = auto()  # a sum that may fall, said as it stands: read like a gauge
    CUMULATIVE = auto()  # a sum that only rises, counted since a start
    DELTA = auto()  # a sum since the point before
    UNKNOWN_SUM = auto()  # a sum that does not say since when
    DISTRIBUTION = auto()  # histogram or summary


@dataclass(frozen=True, slots=True, repr=False)
class DataPoint:
    """One number of one series. `series` is a digest, so that attributes are not kept for longer than needed."""

    metric: str
    unit: str
    kind: Kind
    value: int | float | None  # None: the point says that there was none
    start_ns: int
    time_ns: int
    attributes: dict[str, Value]
    series: bytes


class TooLarge(Enum):
    """Stands for a record that was not even decoded."""

    TOO_LARGE = auto()


TOO_LARGE = TooLarge.TOO_LARGE
