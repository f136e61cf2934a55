"""Does an event cost more in a large database? One is grown through the running agent, and measured on the way."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from agent_process import Agent, install
from record import Run, begin_window, make_events, measure, media_policy
from recorder_load import Load, drive, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GB = 10**9
RUNS = 5
EVENTS = {50: 20_000, 1000: 60_000}  # batch → events of one measurement
FILLER_FIELDS = 4
FILLER_BATCH = 800  # events of 1 kB in one line, which are too many to be merged later


def grow(folder: Path, size_gb: float, kind: str) -> str:
    """Grow to `size_gb`, measuring at each fifth of it; returns a Markdown table. The caller removes the folder."""
    free = shutil.disk_usage(folder).free
    if free < 2 * size_gb * GB:
        raise SystemExit(f"{folder} has {free / GB:.0f} GB free; this wants {2 * size_gb:.0f}")
    agent = install(folder / "l", _policy(), f"max_database_bytes = {round(2 * size_gb * GB)}\n")
    begin_window(agent)
    lines = [
        f"Medians of {RUNS}; {kind}; events with ids.",
        "",
        "| database GB | events a batch | events/s | CPU s / 100,000 | bytes / event | stall p99 ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    costs: dict[int, list[float]] = {batch: [] for batch in EVENTS}
    with agent.running() as pid:
        time.sleep(0.5)
        for step in range(6):
            _fill(agent, round(size_gb * GB * step / 5))
            for batch, count in EVENTS.items():
                seeds = range(100 * step + batch, 100 * step + batch + RUNS)
                runs = [measure(agent, pid, make_events(count, with_ids=True, seed=seed), batch) for seed in seeds]
                costs[batch].append(median(run.cpu_per_100k for run in runs))
                lines.append(_row(_size(agent) / GB, batch, runs))
    for batch, of_batch in costs.items():
        lines.append(f"\nAt {batch} events a batch an event costs {of_batch[-1] / of_batch[0]:.2f} times what it did.")
    return "\n".join(lines)


def _policy() -> dict[str, Any]:
    """The media policy, and a signal of texts that do not compress much."""
    policy = media_policy()
    text = {"type": "text", "max_length": 256}
    like = policy["signals"]["app.crashed"] | {"why": "Fills a database, for a bench."}
    policy["signals"]["bench.filled"] = like | {"fields": {f"text_{n}": text for n in range(FILLER_FIELDS)}}
    return policy


def _fill(agent: Agent, size_bytes: int) -> None:
    while _size(agent) < size_bytes:
        events = list(_filler(10 * FILLER_BATCH))
        drive(agent.socket, Load(lines_of(events, FILLER_BATCH), FILLER_BATCH, 2))


def _filler(count: int) -> Iterator[bytes]:
    now_ms = time.time_ns() // 1_000_000
    for _ in range(count):
        fields = {f"text_{n}": base64.b64encode(os.urandom(192)).decode() for n in range(FILLER_FIELDS)}
        event = {"signal": "bench.filled", "version": "1-0-0", "time": now_ms, "id": os.urandom(12).hex()}
        yield json.dumps(event | {"fields": fields}).encode()


def _size(agent: Agent) -> int:
    return sum(path.stat().st_size for path in agent.state.glob("*.db*"))


def _row(size_gb: float, batch: int, runs: list[Run]) -> str:
    rate, cpu = median(run.rate for run in runs), median(run.cpu_per_100k for run in runs)
    written = median(run.bytes_per_event for run in runs)
    stall = median(quantiles(run.stalls, n=100)[98] for run in runs) * 1000
    return f"| {size_gb:.1f} | {batch} | {rate:,.0f} | {cpu:.2f} | {written:,.0f} | {stall:.1f} |"
