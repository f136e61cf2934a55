"""OTLP in JSON → log records and data points.

The outer layers are decoded first and each record by itself then, so that memory stays bounded. As the
specification says: lowerCamelCase keys, unknown ones ignored, 64-bit integers as numbers or as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from discreet_agent.receive.otlp_records import (
    MAX_RECORD_BYTES,
    TOO_LARGE,
    UNFIT,
    DataPoint,
    Kind,
    LogRecord,
    TooLarge,
    TooManyRecordsError,
    UndecodableError,
)
from discreet_agent.receive.otlp_series import kind_of_sum, series_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from discreet_agent.receive.otlp_records import Value

T = TypeVar("T")

# Bounds how many items a list can have: as many as the most records with the most attributes need.
MAX_COMMAS = 500_000

_NOTHING = Raw()
_Digits = Annotated[str, Meta(pattern=r"^-?[0-9]{1,20}\Z")]
_Integer: TypeAlias = int | _Digits | None
_Number: TypeAlias = float | str | None


class _Message(Struct, frozen=True, rename="camel"):
    """A message: unknown keys are ignored, null is the same as nothing."""


class _AnyValue(_Message, frozen=True):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: _Integer = None
    double_value: _Number = None
    array_value: Raw = _NOTHING
    kvlist_value: Raw = _NOTHING
    bytes_value: Raw = _NOTHING


class _KeyValue(_Message, frozen=True):
    key: str = ""
    value: _AnyValue | None = None


class _Scope(_Message, frozen=True):
    version: str | None = None


class _LogRecord(_Message, frozen=True):
    time_unix_nano: _Integer = None
    observed_time_unix_nano: _Integer = None
    attributes: list[_KeyValue] | None = None
    event_name: str | None = None


class _ScopeLogs(_Message, frozen=True):
    scope: _Scope | None = None
    log_records: list[Raw] | None = None
    schema_url: str | None = None


class _ResourceLogs(_Message, frozen=True):
    scope_logs: list[_ScopeLogs] | None = None
    schema_url: str | None = None


class _Logs(_Message, frozen=True):
    resource_logs: list[_ResourceLogs] | None = None


class _DataPoint(_Message, frozen=True):
    attributes: list[_KeyValue] | None = None
    start_time_unix_nano: _Integer = None
    time_unix_nano: _Integer = None
    as_double: _Number = None
    as_int: _Integer = None
    flags: int | None = None


class _Points(_Message, frozen=True):
    data_points: list[Raw] | None = None
    aggregation_temporality: int | None = None
    is_monotonic: bool | None = None


class _Metric(_Message, frozen=True):
    name: str | None = None
    unit: str | None = None
    gauge: _Points | None = None
    sum: _Points | None = None
    histogram: _Points | None = None
    exponential_histogram: _Points | None = None
    summary: _Points | None = None


class _ScopeMetrics(_Message, frozen=True):
    scope: Raw = _NOTHING
    metrics: list[_Metric] | None = None


class _ResourceMetrics(_Message, frozen=True):
    resource: Raw = _NOTHING
    scope_metrics: list[_ScopeMetrics] | None = None


class _Metrics(_Message, frozen=True):
    resource_metrics: list[_ResourceMetrics] | None = None


_logs = msgspec.json.Decoder(_Logs)
_log_record = msgspec.json.Decoder(_LogRecord)
_metrics = msgspec.json.Decoder(_Metrics)
_data_point = msgspec.json.Decoder(_DataPoint)


def decode_logs(body: bytes) -> Iterator[LogRecord | TooLarge]:
    """Every log record. Raises UndecodableError and TooManyRecordsError."""
    for resource in _decoded(_logs, _bounded(body)).resource_logs or ():
        for scope in resource.scope_logs or ():
            version = (scope.scope and scope.scope.version) or ""
            schema_url = scope.schema_url or resource.schema_url or ""
            for raw in scope.log_records or ():
                yield _read_log(raw, version, schema_url) if len(bytes(raw)) <= MAX_RECORD_BYTES else TOO_LARGE


def _read_log(raw: Raw, version: str, schema_url: str) -> LogRecord:
    record = _decoded(_log_record, raw)
    return LogRecord(
        event_name=record.event_name or "",
        time_ns=_nanoseconds(record.time_unix_nano),
        observed_ns=_nanoseconds(record.observed_time_unix_nano),
        attributes=_attributes(record.attributes),
        scope_version=version,
        schema_url=schema_url,
    )


def decode_metrics(body: bytes) -> Iterator[DataPoint | TooLarge]:
    """Every data point. Raises UndecodableError and TooManyRecordsError."""
    for resource in _decoded(_metrics, _bounded(body)).resource_metrics or ():
        for scope in resource.scope_metrics or ():
            source = bytes(resource.resource) + b"\0" + bytes(scope.scope)
            for metric in scope.metrics or ():
                for kind, raw in _points_of(metric):
                    yield _read_point(metric, kind, raw, source) if len(bytes(raw)) <= MAX_RECORD_BYTES else TOO_LARGE


def _points_of(metric: _Metric) -> Iterator[tuple[Kind, Raw]]:
    for points, kind in (
        (metric.gauge, Kind.GAUGE),
        (metric.sum, kind_of_sum(metric.sum.aggregation_temporality, metric.sum.is_monotonic) if metric.sum else None),
        (metric.histogram, Kind.DISTRIBUTION),
        (metric.exponential_histogram, Kind.DISTRIBUTION),
        (metric.summary, Kind.DISTRIBUTION),
    ):
        if points is not None and kind is not None:
            for raw in points.data_points or ():
                yield kind, raw


def _read_point(metric: _Metric, kind: Kind, raw: Raw, source: bytes) -> DataPoint:
    point = _decoded(_data_point, raw)
    attributes = _attributes(point.attributes)
    name = metric.name or ""
    value = _double(point.as_double) if point.as_int is None else _integer(point.as_int)
    return DataPoint(
        metric=name,
        unit=metric.unit or "",
        kind=kind,
        value=None if (point.flags or 0) & 1 else value,
        start_ns=_nanoseconds(point.start_time_unix_nano),
        time_ns=_nanoseconds(point.time_unix_nano),
        attributes=attributes,
        series=series_of(source, name, attributes),
    )


def _bounded(body: bytes) -> bytes:
    if body.count(b",") > MAX_COMMAS:
        raise TooManyRecordsError
    return body


def _decoded(decoder: msgspec.json.Decoder[T], content: bytes | Raw) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # msgspec's message may quote a value.
        raise UndecodableError(
            "the body is not OTLP in JSON (lowerCamelCase keys, as the specification says)"
        ) from None


def _attributes(pairs: list[_KeyValue] | None) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for pair in pairs or ():
        value = None if pair.value is None else _value(pair.value)
        if value is not None:
            found[pair.key] = value
    return found


def _value(value: _AnyValue) -> Value | None:
    if value.string_value is not None:
        return value.string_value
    if value.bool_value is not None:
        return value.bool_value
    if value.int_value is not None:
        return _integer(value.int_value)
    if value.double_value is not None:
        return _double(value.double_value)
    said = (value.array_value, value.kvlist_value, value.bytes_value)
    return UNFIT if any(bytes(raw) not in (b"", b"null") for raw in said) else None  # an empty value says nothing


def _integer(value: int | str | None) -> int:
    return _within(value, -(2**63), 2**63)


def _nanoseconds(value: int | str | None) -> int:
    return _within(value, 0, 2**64)


def _within(value: int | str | None, low: int, high: int) -> int:
    number = int(value or 0)
    if not low <= number < high:
        raise UndecodableError("an integer has 64 bits")
    return number


def _double(value: float | str | None) -> float | None:
    if not isinstance(value, str):
        return value
    try:
        return float(value)  # "NaN", "Infinity", and numbers as text, as protobuf's JSON has them
    except ValueError:
        raise UndecodableError("a double is a number") from None
