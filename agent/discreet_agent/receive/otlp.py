"""OTLP/HTTP: `/v1/logs` and `/v1/metrics`, so that any OpenTelemetry SDK feeds the agent.

Answers are the specification's: 200 after the commit, with `partial_success` where records were refused; 400 for what
cannot be decoded, and then nothing of it is stored; 503 with `Retry-After` while the device cannot store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, TypeVar

from discreet_agent.event import Batch, EventRefusal, Refused
from discreet_agent.receive import otlp_json, otlp_logs, otlp_metrics
from discreet_agent.receive.http_messages import (
    JSON,
    PROTOBUF,
    HttpRefusal,
    RequestRefusedError,
    Route,
    partial_success,
)
from discreet_agent.receive.otlp_records import (
    MAX_ATTRIBUTES,
    MAX_RECORD_BYTES,
    MAX_RECORDS,
    DataPoint,
    LogRecord,
    TooLarge,
    TooManyRecordsError,
    UndecodableError,
)
from discreet_agent.senders import screen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from types import ModuleType

    from discreet_agent.event import Received
    from discreet_agent.receive.http_messages import Request, Response
    from discreet_contract.policy.model import Signal

    Commit = Callable[[Batch], Awaitable[Sequence[Refused | None]]]

T = TypeVar("T", LogRecord, DataPoint)

SHOWN_REASONS = 5  # in the message of a partial success

_RATE_LIMITED = "RATE_LIMITED"
_TOO_LARGE = Refused(EventRefusal.TOO_LARGE, f"a record has at most {MAX_RECORD_BYTES} bytes")


class Otlp:
    """The two handlers. `signals` gives those of the policy in force, `now_ms` the wall clock."""

    def __init__(self, commit: Commit, signals: Callable[[], Mapping[str, Signal]], now_ms: Callable[[], int]) -> None:
        self._commit = commit
        self._signals = signals
        self._now_ms = now_ms
        self._declared = signals()
        self._sources = otlp_metrics.Sources(self._declared)
        self._series = otlp_metrics.Series(now_ms() * 1_000_000)
        self._one_at_a_time = asyncio.Lock()  # a point's rise depends on what became of the one before

    def routes(self) -> tuple[Route, ...]:
        """What the HTTP edge serves."""
        return (
            Route("POST", "/v1/logs", self.take_logs, consumes=(PROTOBUF, JSON)),
            Route("POST", "/v1/metrics", self.take_metrics, consumes=(PROTOBUF, JSON)),
        )

    def begin_anew(self) -> None:
        """Nothing that was counted until now is ever recorded: while the owner says no, or under another policy."""
        self._series.begin_anew(self._now_ms() * 1_000_000)

    async def take_logs(self, request: Request) -> Response:
        """`/v1/logs`."""
        signals = self._signals()
        records = _gathered(request, _decoder_for(request).decode_logs)
        items = [_TOO_LARGE if isinstance(r, TooLarge) else otlp_logs.event_of(r, signals) for r in records]
        outcomes = await self._stored(request, items)
        return _answer(request, outcomes, "rejectedLogRecords")

    async def take_metrics(self, request: Request) -> Response:
        """`/v1/metrics`."""
        async with self._one_at_a_time:
            self._follow_policy()
            changes: dict[bytes, otlp_metrics._Last] = {}
            items: list[Received] = []
            now_ns = self._now_ms() * 1_000_000
            for point in _gathered(request, _decoder_for(request).decode_metrics):
                item = (
                    _TOO_LARGE
                    if isinstance(point, TooLarge)
                    else otlp_metrics.event_of(point, self._sources, self._series, changes, now_ns)
                )
                if item is not None:
                    items.append(item)
            outcomes = await self._stored(request, items)
            self._series.keep(changes)
            if any(outcome is not None and outcome.reason is EventRefusal.CONSENT_OFF for outcome in outcomes):
                self.begin_anew()
        return _answer(request, outcomes, "rejectedDataPoints")

    def _follow_policy(self) -> None:
        declared = self._signals()
        if declared is self._declared:
            return
        before, self._declared, self._sources = self._sources, declared, otlp_metrics.Sources(declared)
        if self._sources != before:  # a counter that nobody asked for until now is not ours from its beginning
            self.begin_anew()

    async def _stored(self, request: Request, items: list[Received]) -> Sequence[Refused | None]:
        """What became of each item. Raises RequestRefusedError where the client shall send the same again."""
        batch = Batch(request.speaker.name, screen(request.speaker, items))
        outcomes = await self._commit(batch) if items else []
        reasons = {outcome.reason.value if outcome is not None else "" for outcome in outcomes}
        if EventRefusal.STORE_UNAVAILABLE in reasons:
            raise RequestRefusedError(HttpRefusal.STORE_UNAVAILABLE, "the device cannot store now")
        if reasons == {_RATE_LIMITED}:  # nothing was stored; where something was, sending again would store it twice
            raise RequestRefusedError(HttpRefusal.THROTTLED, "every record is over its sender's rate")
        return outcomes


def _decoder_for(request: Request) -> ModuleType:
    if request.media_type == JSON:
        return otlp_json
    from discreet_agent.receive import otlp_protobuf

    if not otlp_protobuf.is_available():
        hint = (
            "this agent reads OTLP in JSON only: set OTEL_EXPORTER_OTLP_PROTOCOL=http/json, or have the package extra"
        )
        raise RequestRefusedError(HttpRefusal.MEDIA_TYPE, f"{hint} `otlp` of discreet-agent installed")
    return otlp_protobuf


def _gathered(request: Request, decode: Callable[[bytes], Iterator[T | TooLarge]]) -> list[T | TooLarge]:
    """Every record of a request, or none. Raises RequestRefusedError."""
    try:
        return list(_bounded(decode(request.content())))
    except UndecodableError as exc:
        raise RequestRefusedError(HttpRefusal.BAD_REQUEST, str(exc)) from None
    except TooManyRecordsError:
        message = f"a request has at most {MAX_RECORDS} records and {MAX_ATTRIBUTES} attributes; split it"
        raise RequestRefusedError(HttpRefusal.BODY_TOO_LARGE, message) from None


def _bounded(records: Iterator[T | TooLarge]) -> Iterator[T | TooLarge]:
    attributes = 0
    for number, record in enumerate(records, start=1):
        attributes += 0 if isinstance(record, TooLarge) else len(record.attributes)
        if number > MAX_RECORDS or attributes > MAX_ATTRIBUTES:
            raise TooManyRecordsError
        yield record


def _answer(request: Request, outcomes: Sequence[Refused | None], counted_as: str) -> Response:
    refused = [outcome for outcome in outcomes if outcome is not None]
    kinds = Counter(f"{refusal.reason.value}: {refusal.detail}" for refusal in refused)
    said = [f"{times} × {kind}" for kind, times in kinds.most_common(SHOWN_REASONS)]
    if len(kinds) > SHOWN_REASONS:
        said.append("…")
    return partial_success(len(refused), "; ".join(said), counted_as=counted_as, wanted=request.media_type)
