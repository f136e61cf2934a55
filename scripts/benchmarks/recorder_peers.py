"""One peer that keeps events, run by record.py in the peers' own Python; prints one JSON object.

python recorder_peers.py NAME EVENTS BATCH FOLDER. Each peer keeps events in its own manner, as it comes: Glean appends
a line for each event to a file, OpenTelemetry's batch processor hands BATCH records at a time to its exporter, which
appends them as one line of OTLP JSON and flushes. Neither waits for the disk: a power cut may take what they kept.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUE = 10_000
GENRES = ("news", "drama", "sport", "music", "other")


@dataclass(frozen=True, slots=True)
class Peer:
    """A library ready to record: `emit(number)` one event, `finish` until all are kept, `kept` counts those."""

    emit: Callable[[int], None]
    finish: Callable[[], None]
    kept: Callable[[], int]


def glean(_batch: int, folder: Path) -> Peer:
    """Glean events. So many are allowed in one ping that none is put together meanwhile."""
    from glean import Configuration, Glean
    from glean._uniffi import CommonMetricData, Lifetime
    from glean.metrics import EventMetricType
    from glean.metrics.event import EventExtras

    class Extras(EventExtras):  # type: ignore[misc] # as `glean.load_metrics` would make it
        def __init__(self, values: dict[str, str]) -> None:
            self._values = values

        def to_ffi_extra(self) -> dict[str, str]:
            return self._values

    configuration = Configuration(server_endpoint="http://127.0.0.1:9", max_events=10**9, allow_multiprocessing=False)
    Glean.initialize("bench", "1", upload_enabled=True, configuration=configuration, data_dir=folder)
    data = CommonMetricData(
        category="playback", name="stopped", send_in_pings=["events"], lifetime=Lifetime.PING, disabled=False
    )
    metric = EventMetricType(data, ["genre", "seconds", "evening"])
    metric.test_get_value()  # waits until the start is through

    def emit(number: int) -> None:
        extras = {"genre": GENRES[number % 5], "seconds": str(number % 86_400), "evening": str(number % 3 == 0)}
        metric.record(Extras(extras))

    def kept() -> int:
        return (folder / "events" / "events").read_bytes().count(b'"stopped"')

    return Peer(emit, Glean.shutdown, kept)  # `shutdown` returns when the writing thread has emptied its queue


def opentelemetry(batch: int, folder: Path) -> Peer:
    """Log records of OpenTelemetry, flushed after each QUEUE of them: its queue drops silently what does not fit."""
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.exporter.otlp.json.file._log_exporter import FileLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    path = folder / "logs.jsonl"
    processor = BatchLogRecordProcessor(FileLogExporter(path), max_queue_size=QUEUE, max_export_batch_size=batch)
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(processor)
    logger = provider.get_logger("bench")

    def emit(number: int) -> None:
        fields = {"genre": GENRES[number % 5], "seconds": number % 86_400, "evening": number % 3 == 0}
        record = LogRecord(
            timestamp=time.time_ns(),
            event_name="playback.stopped",
            severity_number=SeverityNumber.INFO,
            attributes=fields | {"id": f"{number:016x}"},
        )
        logger.emit(record)
        if (number + 1) % QUEUE == 0:
            provider.force_flush()

    def kept() -> int:
        return path.read_bytes().count(b'"timeUnixNano"')

    return Peer(emit, provider.shutdown, kept)


def main(name: str, events: int, batch: int, folder: Path) -> None:
    """Start, then measure recording until all is kept."""
    peer = {"glean": glean, "opentelemetry": opentelemetry}[name](batch, folder)
    began, cpu_before, bytes_before = time.perf_counter(), time.process_time(), _write_bytes()
    for number in range(events):
        peer.emit(number)
    peer.finish()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu_before
    if peer.kept() != events:
        raise SystemExit(f"{name} kept {peer.kept()} of {events} events")
    print(json.dumps({"seconds": took, "cpu_seconds": cpu, "write_bytes": _write_bytes() - bytes_before}))


def _write_bytes() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
