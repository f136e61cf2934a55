"""What makes two data points one series, and what kind of number a sum is."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from discreet_agent.receive.otlp_records import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from discreet_agent.receive.otlp_records import Value

_DELTA, _CUMULATIVE = 1, 2  # opentelemetry.proto.metrics.v1.AggregationTemporality


def kind_of_sum(temporality: int | None, is_monotonic: bool | None) -> Kind:  # noqa: FBT001 - as the message has it
    """How the points of a sum are read."""
    if temporality == _DELTA:
        return Kind.DELTA
    if temporality == _CUMULATIVE:
        return Kind.CUMULATIVE if is_monotonic else Kind.TOTAL
    return Kind.UNKNOWN_SUM


def series_of(source: bytes, metric: str, attributes: Mapping[str, Value]) -> bytes:
    """Digest of everything that tells one series from another: resource, scope, metric, attributes in any order."""
    told = repr((metric, sorted((name, type(value).__name__, repr(value)) for name, value in attributes.items())))
    return hashlib.blake2b(source + b"\0" + told.encode("utf-8", "surrogatepass"), digest_size=16).digest()
