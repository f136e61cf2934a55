"""A real agent under a steady load for a long time: soak.py SECONDS [--picture FILE.svg] [--facts FILE.json].

500 events a second with a retention of a minute, so that as much is forgotten as comes in. Memory, bytes on disk and
open descriptors must then stay where they are. No broker listens; windows are as long as --window says.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from soak_plot import draw

if TYPE_CHECKING:
    from collections.abc import Iterator

PER_SECOND = 500
BATCH = 50
RETENTION_SECONDS = 60
WARM_SECONDS = 2 * RETENTION_SECONDS  # until the first events are gone, pages are reused and the log has its size
SAMPLE_SECONDS = 1.0

POLICY = """
discreet: 1
fleet: soakers
version: 1
release: {{author: soak@example.org, reason: a steady load}}
consent: managed
aggregator: {{keys: [{{id: soak, public_key: "{public_key}", from: 2020-01-01, until: 2040-01-01}}]}}
budget: {{per_28_days: 100000, per_365_days: 100000, lifetime: 100000, exhaustible: "nobody lives here"}}
lateness: 0s
late_horizon: 1d
spread: 0s
signals:
  door.opened:
    version: 1-0-0
    role: observation
    kind: outcome
    sensitivity: sensitive
    why: A steady load
    owner: soak@example.org
    expires: 2039-01-01
    retention: {retention}s
    fields:
      seconds: {{type: number, min: 0, max: 100000, grid: 0.0625}}
      side: {{type: category, values: [left, right]}}
metrics:
  openings:
    {{from: door.opened, per_device: count, type: count, bounds: [0, 1000], window: {window}, epsilon: 1.0,
      owner: soak@example.org, why: A steady load}}
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The agent at one moment."""

    second: float
    rss_mb: float
    disk_mb: float
    descriptors: int
    acknowledged: int
    slowest_answer_ms: float  # since the sample before


@dataclass(frozen=True, slots=True)
class Drift:
    """What changed between the first and the last third after warming up, medians of each."""

    rss_mb: float
    disk_mb: float
    descriptors: float
    acknowledged_per_second: float
    slowest_answer_ms: float


def main() -> None:
    """Run, print what drifted, write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--facts", type=Path)
    parser.add_argument("--window", default="1d", help="of the one metric; 10m shows what closing windows costs")
    parser.add_argument("--ids", type=float, default=0.1, help="share of events that carry an id of their own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dsc") as name, running_agent(Path(name), options.window) as process:
        samples = soak(Path(name), process, options.seconds, options.ids)
    drift = drift_of(samples)
    print(f"{samples[-1].acknowledged:,} events in {samples[-1].second:.0f} s; after warming up, medians of thirds:")
    for name, value in asdict(drift).items():
        print(f"{name:28} {value:+.2f}")
    if options.facts:
        facts = {"drift": asdict(drift), "samples": [asdict(sample) for sample in samples]}
        options.facts.write_text(json.dumps(facts), encoding="utf-8")
    if options.picture:
        options.picture.write_text(draw(samples, WARM_SECONDS), encoding="utf-8")


@contextmanager
def running_agent(folder: Path, window: str) -> Iterator[subprocess.Popen[bytes]]:
    """A device of its own, with its policy signed and its daemon ready."""
    discreet = Path(sys.executable).with_name("discreet")

    def run(*arguments: object) -> str:
        done = subprocess.run([discreet, "policy", *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    root = run("keys", "new", folder / "root.key")
    text = POLICY.format(public_key="09" * 32, retention=RETENTION_SECONDS, window=window)
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    run("release", folder / "policy.yaml", "--log", folder / "releases", "--key", folder / "root.key")
    run("publish", "--log", folder / "releases", "--output", folder / "policy.json")
    (folder / "agent.toml").write_text(
        f'policy = "policy.json"\nroots = ["{root}"]\nstate_dir = "state"\nsocket = "agent.sock"\n'
        '[broker]\nurl = "mqtt://127.0.0.1:9"\n',
        encoding="utf-8",
    )
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen([discreet, "agent", "run", "--config", folder / "agent.toml"], stderr=log)
    try:
        while not (folder / "agent.sock").exists():
            if process.poll() is not None:
                raise SystemExit((folder / "agent.log").read_text(encoding="utf-8"))
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def soak(folder: Path, process: subprocess.Popen[bytes], seconds: float, ids: float) -> list[Sample]:
    """Send at a steady pace on one connection, and look at the process once a second."""
    samples: list[Sample] = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(folder / "agent.sock"))
        answers = connection.makefile("rb")
        began = time.monotonic()
        sent, slowest, next_sample = 0, 0.0, SAMPLE_SECONDS
        while (now := time.monotonic() - began) < seconds:
            asked = time.monotonic()
            connection.sendall(_batch(sent, ids))
            answer = json.loads(answers.readline())
            if answer != {"ok": BATCH}:
                raise SystemExit(f"the agent refused: {answer}")
            slowest = max(slowest, time.monotonic() - asked)
            sent += BATCH
            if now >= next_sample:
                samples.append(_look(folder, process.pid, now, sent, slowest))
                slowest, next_sample = 0.0, next_sample + SAMPLE_SECONDS
            time.sleep(max(0.0, began + sent / PER_SECOND - time.monotonic()))
    return samples


def drift_of(samples: list[Sample]) -> Drift:
    """Last third against first, after warming up; the pace and the slowest answer over all of it."""
    steady = [sample for sample in samples if sample.second > WARM_SECONDS] or samples
    third = max(len(steady) // 3, 1)
    first, last = steady[:third], steady[-third:]

    def change(name: str) -> float:
        return median(getattr(s, name) for s in last) - median(getattr(s, name) for s in first)

    span = steady[-1].second - steady[0].second or 1.0
    pace = (steady[-1].acknowledged - steady[0].acknowledged) / span
    slowest = max(sample.slowest_answer_ms for sample in steady)
    return Drift(change("rss_mb"), change("disk_mb"), change("descriptors"), pace, slowest)


def _batch(number: int, ids: float) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    events = []
    for offset in range(BATCH):
        event: dict[str, object] = {"signal": "door.opened", "version": "1-0-0", "time": now_ms}
        event["fields"] = {"seconds": (number + offset) % 1000, "side": "left"}
        if (number + offset) % 100 < ids * 100:
            event["id"] = f"{number + offset:012}"
        events.append(event)
    return json.dumps({"events": events}).encode() + b"\n"


def _look(folder: Path, pid: int, second: float, sent: int, slowest: float) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    rss_mb = int(status.split("VmRSS:")[1].split()[0]) / 1024
    disk = sum(path.stat().st_size for path in (folder / "state").iterdir() if not path.name.endswith("-shm"))
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - counted only
    return Sample(second, rss_mb, disk / 1e6, descriptors, sent, slowest * 1000)


if __name__ == "__main__":
    main()
