"""OTLP in protobuf → log records and data points.

The library (extra `otlp` of discreet-agent) is imported with the first request that needs it. It is given one
record at a time: see `protobuf_wire`.
"""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from discreet_agent.receive.otlp_records import (
    MAX_ATTRIBUTES,
    MAX_RECORD_BYTES,
    TOO_LARGE,
    UNFIT,
    DataPoint,
    Kind,
    LogRecord,
    TooManyRecordsError,
    UndecodableError,
)
from discreet_agent.receive.otlp_series import kind_of_sum, series_of
from discreet_agent.receive.protobuf_wire import TooManyFieldsError, Walk, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from discreet_agent.receive.otlp_records import TooLarge, Value

# Field numbers of opentelemetry.proto's collector, logs and metrics, all v1: stable for ever.
_ALL_RESOURCES = 1  # Export…ServiceRequest.resource_logs, .resource_metrics
_RESOURCE, _SCOPES, _SCHEMA_URL = 1, 2, 3  # ResourceLogs, ResourceMetrics
_SCOPE, _RECORDS = 1, 2  # ScopeLogs, ScopeMetrics; schema_url as above
_SCOPE_VERSION = 2  # InstrumentationScope
_NAME, _UNIT, _GAUGE, _SUM = 1, 3, 5, 7  # Metric
_DISTRIBUTIONS = (9, 10, 11)  # histogram, exponential_histogram, summary
_POINTS, _TEMPORALITY, _MONOTONIC = 1, 2, 3  # Gauge, Sum, …


def is_available() -> bool:
    """Whether the library is installed. Imports it."""
    try:
        importlib.import_module("opentelemetry.proto.logs.v1.logs_pb2")
    except ImportError:
        return False
    return True


def decode_logs(body: bytes) -> Iterator[LogRecord | TooLarge]:
    """Every log record. Raises UndecodableError."""
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as Message

    walk, attributes = Walk(), Walk(MAX_ATTRIBUTES)
    with _translated():
        for resource in walk.messages(memoryview(body), _ALL_RESOURCES):
            for scope in walk.messages(resource, _SCOPES):
                version = _text(walk.last(memoryview(walk.last(scope, _SCOPE)), _SCOPE_VERSION))
                schema_url = _text(walk.last(scope, _SCHEMA_URL) or walk.last(resource, _SCHEMA_URL))
                for content in walk.messages(scope, _RECORDS):
                    if not _fits(content):
                        yield TOO_LARGE
                    else:
                        yield _read_log(_parsed(Message, content), version, schema_url, attributes)


def _read_log(record: Any, version: str, schema_url: str, walk: Walk) -> LogRecord:
    return LogRecord(
        event_name=record.event_name,
        time_ns=record.time_unix_nano,
        observed_ns=record.observed_time_unix_nano,
        attributes=_attributes(record.attributes, walk),
        scope_version=version,
        schema_url=schema_url,
    )


def decode_metrics(body: bytes) -> Iterator[DataPoint | TooLarge]:
    """Every data point. Raises UndecodableError."""
    walk, attributes = Walk(), Walk(MAX_ATTRIBUTES)
    with _translated():
        for resource in walk.messages(memoryview(body), _ALL_RESOURCES):
            for scope in walk.messages(resource, _SCOPES):
                source = walk.last(resource, _RESOURCE) + b"\0" + walk.last(scope, _SCOPE)
                for metric in walk.messages(scope, _RECORDS):
                    yield from _read_metric(walk, attributes, metric, source)


def _read_metric(walk: Walk, attributes: Walk, metric: memoryview, source: bytes) -> Iterator[DataPoint | TooLarge]:
    from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

    name, unit = _text(walk.last(metric, _NAME)), _text(walk.last(metric, _UNIT))
    for number, data in walk.fields(metric):
        if number not in (_GAUGE, _SUM, *_DISTRIBUTIONS):
            continue
        if isinstance(data, int):
            raise WireError("a number where a message is due")
        kind = _kind_of(walk, number, data)
        for content in walk.messages(data, _POINTS):
            if not _fits(content):
                yield TOO_LARGE
            elif kind is Kind.DISTRIBUTION:
                yield DataPoint(name, unit, kind, None, 0, 0, {}, b"")
            else:
                point = _parsed(NumberDataPoint, content)
                yield _read_point(point, name, unit, kind, source, _attributes(point.attributes, attributes))


def _kind_of(walk: Walk, number: int, data: memoryview) -> Kind:
    if number == _GAUGE:
        return Kind.GAUGE
    if number in _DISTRIBUTIONS:
        return Kind.DISTRIBUTION
    said = {key: value for key, value in walk.fields(data) if isinstance(value, int)}
    return kind_of_sum(said.get(_TEMPORALITY), bool(said.get(_MONOTONIC)))


def _read_point(point: Any, name: str, unit: str, kind: Kind, source: bytes, attributes: dict[str, Value]) -> DataPoint:
    said = point.WhichOneof("value")
    return DataPoint(
        metric=name,
        unit=unit,
        kind=kind,
        value=None if point.flags & 1 or said is None else getattr(point, said),
        start_ns=point.start_time_unix_nano,
        time_ns=point.time_unix_nano,
        attributes=attributes,
        series=series_of(source, name, attributes),
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except WireError as exc:
        raise UndecodableError(str(exc)) from None
    except TooManyFieldsError:
        raise TooManyRecordsError from None


def _fits(content: memoryview) -> bool:
    return len(content) <= MAX_RECORD_BYTES


def _parsed(message: Callable[[], Any], content: memoryview) -> Any:
    from google.protobuf.message import DecodeError

    parsed = message()
    try:
        parsed.ParseFromString(bytes(content))
    except DecodeError:
        raise UndecodableError("a record is not OTLP in protobuf") from None
    return parsed


def _attributes(pairs: Any, walk: Walk) -> dict[str, Value]:
    """By name. Each is a step, also one that says nothing or says a name again: 64 KB can hold 30,000 of those."""
    walk.pay(len(pairs))
    found: dict[str, Value] = {}
    for pair in pairs:
        said = pair.value.WhichOneof("value")
        if said is None:
            continue  # an empty value says nothing
        fits = said in ("string_value", "bool_value", "int_value", "double_value")
        found[pair.key] = getattr(pair.value, said) if fits else UNFIT
    return found


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UndecodableError("a text is not UTF-8") from None
