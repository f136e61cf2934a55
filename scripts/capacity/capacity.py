"""Devices, metrics and cadence → messages, bytes, workers, storage and cost. Arithmetic only: no file, no output.

What one report costs was measured (`Figures`), what a fleet sends is stated (`Load`), what money buys is assumed
(`Prices`). Windows end for all devices at the same moment (they are aligned to the epoch), so the day that counts for
rates is the one on which every window length ends together, and its reports come evenly within the policy's `spread`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

DAY = 86_400
YEAR = 365 * DAY
TOPIC_BYTES = 30  # discreet/1/<fleet>/reports with a fleet's name of 11 letters
PUBLISH_BYTES = (
    2 + 1 + 2 + 2 + 1
)  # MQTT 5: kind and length (2 bytes from 128 on), topic's length, packet id, properties
PUBACK_BYTES = 4
RECEIPT_BYTES = 38  # at most: array of three, id of 16, verdict, tag of 16
PING_BYTES = 2  # each way
KEEPALIVE_SECONDS = 30
BEACON_BYTES = 1 + 1 + 2 + 27 + 1 + 87  # the signed time: a message without packet id, its topic, its content
BEACON_SECONDS = 300
FILTER_BYTES = 2  # of a worker's memory for each known id (docs/decisions/0025)


@dataclass(frozen=True, slots=True)
class Series:
    """Reports of one metric (or of a group that takes turns): one a device and window."""

    window_seconds: int
    envelope_bytes: int = 256
    sums_bytes: float = 0.0  # of one window, over all its cells


@dataclass(frozen=True, slots=True)
class Load:
    """What a fleet sends, and when."""

    devices: float
    series: tuple[Series, ...]
    spread_seconds: int
    grace_seconds: int  # lateness + spread + late horizon: how long after its window's end a report is still taken
    receipt_buckets: int
    online: float = 1.0  # share of the devices that are connected at any time
    outage_seconds: int = 3600  # of the aggregator, that the broker's queue is to bridge


@dataclass(frozen=True, slots=True)
class Figures:
    """What one report was measured to cost, on one store."""

    store: str
    reports_per_second: float  # one worker
    worker_cpu_us: float
    broker_cpu_us: float
    database_cpu_us: float
    transaction_us: float  # of wall time between begin and commit: one writer at a time
    archive_bytes: float
    dedupe_bytes: float
    lookup_us_per_million: float  # what a million more known ids add to a report: one more filter is asked for each run
    queue_bytes: float  # of the broker's memory, an envelope of 256 bytes included

    def with_known(self, ids: float) -> Figures:
        """The same where so many ids are known: looking one up is in the transaction and in the worker's time."""
        more = self.lookup_us_per_million * ids / 1e6
        return replace(
            self,
            reports_per_second=1e6 / (1e6 / self.reports_per_second + more),
            worker_cpu_us=self.worker_cpu_us + more,
            transaction_us=self.transaction_us + more,
        )


@dataclass(frozen=True, slots=True)
class Prices:
    """Assumptions, in any currency; none of them is a quotation."""

    core_hour: float = 0.04
    storage_gb_month: float = 0.10
    egress_gb: float = 0.05
    ingress_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What it takes."""

    reports_per_window: float  # of the day on which all windows end
    messages_per_second: float  # the year's mean, reports in
    peak_per_second: float  # within the spread after windows end together
    bytes_per_day_in: float  # MQTT bytes from devices: reports
    receipts_bytes_per_day: float  # to devices: each receipt to every connected device of its bucket
    standing_bytes_per_day: float  # to devices: answers to pings, and the time, whether or not anything is reported
    connections: float
    pings_per_second: float
    receipts_per_device_day: float  # bytes of others' receipts that reach each connected device
    worker_reports_per_second: float  # with all ids known that are at the peak
    workers: int
    worker_memory_bytes: float  # of each, for its filters
    writer_share: float  # of the one writer's time at the peak; 1 or more cannot work
    shortest_spread_seconds: float  # that one database's writer can keep up with
    queue_bytes: float  # in the broker, after an outage at the peak
    archive_bytes_per_year: float
    dedupe_bytes_peak: float
    sums_bytes_per_year: float
    cores_peak: float  # busy at the peak: workers, broker and database together
    cores_rented: int  # for the whole year, at the same headroom as the workers
    core_hours_used: float  # of a year; the rest of what is rented waits for the peak
    cost_per_year: float

    @property
    def works(self) -> bool:
        """Whether one database takes the peak."""
        return self.writer_share < 1


def plan(load: Load, figures: Figures, prices: Prices, *, headroom: float = 0.5) -> Capacity:
    """Everything from the one report; `headroom` is the share of a worker's measured rate that is counted on."""
    known = _ids_at_peak(load)
    figures = figures.with_known(known)
    a_second = sum(load.devices / series.window_seconds for series in load.series)
    together = load.devices * len(load.series)
    peak = together / load.spread_seconds
    receipts, standing = a_second * DAY * _receipt_fan_out(load), _standing(load)
    out = receipts + standing + a_second * DAY * PUBACK_BYTES
    in_per_day = sum(DAY / one.window_seconds * (one.envelope_bytes + _overhead()) for one in load.series)
    cpu_us = figures.worker_cpu_us + figures.broker_cpu_us + figures.database_cpu_us
    yearly = a_second * YEAR
    archive, sums = yearly * figures.archive_bytes, _sums_per_year(load)
    dedupe = known * figures.dedupe_bytes
    cores = max(1, math.ceil(peak * cpu_us / 1e6 / headroom))
    storage_gb = (archive / 2 + sums / 2 + dedupe) / 1e9  # mean over the year in which it grows
    return Capacity(
        reports_per_window=together,
        messages_per_second=a_second,
        peak_per_second=peak,
        bytes_per_day_in=load.devices * in_per_day,
        receipts_bytes_per_day=receipts,
        standing_bytes_per_day=standing,
        connections=load.devices * load.online,
        pings_per_second=load.devices * load.online / KEEPALIVE_SECONDS,
        receipts_per_device_day=a_second * DAY * (RECEIPT_BYTES / load.receipt_buckets),
        worker_reports_per_second=figures.reports_per_second,
        worker_memory_bytes=known * FILTER_BYTES,
        workers=max(1, math.ceil(peak / (figures.reports_per_second * headroom))),
        writer_share=peak * figures.transaction_us / 1e6,
        shortest_spread_seconds=together * figures.transaction_us / 1e6 / headroom,
        queue_bytes=peak * load.outage_seconds * (figures.queue_bytes + _largest(load) - 256),
        archive_bytes_per_year=archive,
        dedupe_bytes_peak=dedupe,
        sums_bytes_per_year=sums,
        cores_peak=peak * cpu_us / 1e6,
        cores_rented=cores,
        core_hours_used=yearly * cpu_us / 1e6 / 3600,
        cost_per_year=cores * YEAR / 3600 * prices.core_hour
        + storage_gb * 12 * prices.storage_gb_month
        + out * 365 / 1e9 * prices.egress_gb
        + load.devices * in_per_day * 365 / 1e9 * prices.ingress_gb,
    )


def _overhead() -> int:
    return PUBLISH_BYTES + TOPIC_BYTES


def _largest(load: Load) -> int:
    return max(series.envelope_bytes for series in load.series)


def _receipt_fan_out(load: Load) -> float:
    """Bytes that the broker sends out for one report's receipt: to every connected device of its bucket.

    A message's own bytes are left out: at rates where they matter a batch fills it with receipts, and at others the sum
    is small. At least one device hears it, its own.
    """
    hearing = max(1.0, load.devices * load.online / load.receipt_buckets)
    return hearing * RECEIPT_BYTES


def _standing(load: Load) -> float:
    """Bytes a day that being connected costs, towards the devices."""
    a_device = DAY / KEEPALIVE_SECONDS * PING_BYTES + DAY / BEACON_SECONDS * BEACON_BYTES
    return load.devices * load.online * a_device


def _ids_at_peak(load: Load) -> float:
    """Ids that are remembered at the same time: those of every window that ended within the grace."""
    return sum(load.devices * math.ceil(load.grace_seconds / one.window_seconds) for one in load.series)


def _sums_per_year(load: Load) -> float:
    return sum(YEAR / one.window_seconds * one.sums_bytes for one in load.series)
