"""Figures about the aggregator itself, in Prometheus's text form. Counts of envelopes, never what is in them.

Read from the database for each scrape, so that all workers are in one answer. Labels are bounded:
a metric is one that a loaded policy names, else `-`; a reason is one of the closed list.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from discreet_aggregator.policies import PolicyFiles
from discreet_aggregator.refusal import RefusalReason
from discreet_aggregator.store.reader import Reader
from discreet_contract.errors import ConfigError, DiscreetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from discreet_aggregator.config import AggregatorConfig

_UNKNOWN = "-"  # the label of a metric that no loaded policy names, and of a reason that a newer version wrote
_REASONS = frozenset(reason.value for reason in RefusalReason)

_log = structlog.get_logger()


@contextmanager
def exposed(
    config: AggregatorConfig, workers_alive: Callable[[], int], workers_connected: Callable[[], int]
) -> Iterator[None]:
    """Answer scrapes as long as the block runs, if `[metrics]` says where. Raises ConfigError."""
    if not config.metrics.listen:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as exc:
        raise ConfigError(
            "[metrics] needs the package prometheus-client", hint="pip install 'discreet-aggregator[metrics]'"
        ) from exc
    registry = CollectorRegistry()
    registry.register(Figures(config, workers_alive, workers_connected))
    host, port = config.metrics.address
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as exc:
        hint = "another process listens there: choose another port"
        raise ConfigError(f"[metrics] cannot listen on {config.metrics.listen}: {exc.strerror}", hint=hint) from exc
    _log.info("metrics exposed", listen=config.metrics.listen)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Figures:
    """What one scrape shows; a `prometheus_client` collector."""

    def __init__(
        self, config: AggregatorConfig, workers_alive: Callable[[], int], workers_connected: Callable[[], int]
    ) -> None:
        self._where = config.where
        self._files = PolicyFiles(config.policies, config.roots, config.fleet)
        self._names = _names(self._files)
        self._workers_alive = workers_alive
        self._workers_connected = workers_connected
        self._configured = config.workers

    def describe(self) -> list[Metric]:
        """Nothing is read before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures; only the first four where the database cannot be read."""
        yield _gauge("workers_alive", "Worker processes that run.", self._workers_alive())
        yield _gauge("workers_connected", "Workers to which the broker sends reports now.", self._workers_connected())
        yield _gauge("workers_configured", "Worker processes that should run.", self._configured)
        try:
            with Reader(self._where) as reader:
                figures = list(self._read(reader))
        except DiscreetError:
            yield _gauge("database_readable", "Whether this scrape could read the database.", 0)
            return
        yield _gauge("database_readable", "Whether this scrape could read the database.", 1)
        yield from figures

    def _read(self, reader: Reader) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        self._look()
        accepted: Counter[str] = Counter()
        for metric, count in reader.accepted().items():
            accepted[self._label(metric)] += count
        family = CounterMetricFamily("discreet_reports_accepted", "Reports that count.", labels=["metric"])
        for label, count in sorted(accepted.items()):
            family.add_metric([label], count)
        yield family
        yield self._refused(reader)
        yield _gauge(
            "watermark_seconds", "What time it is for admission, since 1970.", reader.watermark().now_ms / 1000
        )
        text = "When reports were admitted last, since 1970; 0 before the first."
        yield _gauge("last_admission_seconds", text, reader.last_admission_ms() / 1000)
        yield _gauge("known_report_ids", "Report ids whose verdicts are remembered.", reader.seen_ids())
        yield _gauge("quarantine_rows", "Refused envelopes kept for a look.", reader.quarantined())
        yield _gauge("database_bytes", "What the database takes on disk.", reader.size_bytes())

    def _refused(self, reader: Reader) -> Metric:
        from prometheus_client.core import CounterMetricFamily

        counts: Counter[tuple[str, str]] = Counter()
        for row in reader.refusals():
            reason = row.reason if row.reason in _REASONS else _UNKNOWN
            counts[self._label(row.metric), reason] += row.count
        text = "Envelopes that do not count, over all days."
        family = CounterMetricFamily("discreet_envelopes_refused", text, labels=["metric", "reason"])
        for labels, count in sorted(counts.items()):
            family.add_metric(list(labels), count)
        return family

    def _label(self, metric: str) -> str:
        return metric if metric in self._names else _UNKNOWN

    def _look(self) -> None:
        """The names of newer policies; the former ones stay where they cannot be loaded, as with the workers."""
        if self._files.have_changed():
            try:
                self._names = _names(self._files)
            except DiscreetError:
                return


def _names(files: PolicyFiles) -> frozenset[str]:
    return frozenset(name for verified in files.load().values() for name in verified.plans)


def _gauge(name: str, text: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"discreet_{name}", text, value=value)
