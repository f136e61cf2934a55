"""Idle memory, start time and idle CPU of the agent, beside bare Python and Python with the same libraries loaded.

Medians of RUNS in turn (agent, libraries, bare, agent, …), so that a drifting machine moves all three. Apart from
them: CPU over a minute of idling, and memory when a window closes, which loads what draws noise.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from agent_process import Agent, enrol, example, fresh_state, install, own_line

RUNS = 7
IDLE_SECONDS = 2.5
IDLE_CPU_SECONDS = 60
CLOSING_RUNS = 3
WINDOW_SECONDS = 28 * 86_400
LIBRARIES = "asyncio, sqlite3, msgspec, nacl.public, nacl.signing, paho.mqtt.client, structlog, click, rfc8785"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resident memory when idle, and seconds from the start of the process to readiness."""

    rss_mb: float
    ready_seconds: float


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="dsc") as folder:
        agent = install(Path(folder) / "a", example("flights"))
        measured: dict[str, list[Footprint]] = {"agent, idle": [], "same libraries": [], "bare Python": []}
        for _ in range(RUNS):
            measured["agent, idle"].append(_measure(agent.command, agent.socket))
            measured["same libraries"].append(_measure(_python(f"import {LIBRARIES}", folder), Path(folder) / "ready"))
            measured["bare Python"].append(_measure(_python("pass", folder), Path(folder) / "ready"))
        _print(measured)
        print(f"agent, idle for {IDLE_CPU_SECONDS} s: {_idle_cpu(agent):.2%} of one processor")
        closing = install(Path(folder) / "c", example("flights"))
        now = int(time.time())
        enrol(closing, now - now % WINDOW_SECONDS - WINDOW_SECONDS)
        peaks = [_closing(closing) for _ in range(CLOSING_RUNS)]
    peak, after = (median(values) for values in zip(*peaks, strict=True))
    print(f"agent when a window closes: {peak:.1f} MB at the most, {after:.1f} MB after")


def _python(statement: str, folder: str) -> list[str]:
    program = f"{statement}\nimport pathlib, time; pathlib.Path({folder!r}, 'ready').touch(); time.sleep(60)"
    return [sys.executable, "-c", program]


def _measure(command: list[str], ready: Path) -> Footprint:
    ready.unlink(missing_ok=True)
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not ready.exists():
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {process.returncode}")
            time.sleep(0.002)
        ready_seconds = time.monotonic() - began
        time.sleep(IDLE_SECONDS)
        rss_kb = own_line(process.pid, "status", "VmRSS")
        process.kill()
    ready.unlink(missing_ok=True)
    return Footprint(rss_kb / 1024, ready_seconds)


def _idle_cpu(agent: Agent) -> float:
    """Share of one processor that all threads take; no sender, and it keeps looking for a broker."""
    with agent.running() as pid:
        time.sleep(IDLE_SECONDS)
        before = _ran_ns(pid)
        time.sleep(IDLE_CPU_SECONDS)
        return (_ran_ns(pid) - before) / IDLE_CPU_SECONDS / 1e9


def _ran_ns(pid: int) -> int:
    """Nanoseconds on a processor, which the ticks of /proc/PID/stat are too coarse for."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks)


def _closing(agent: Agent) -> tuple[float, float]:
    """(greatest, later) resident MB of an agent that finds at its start that a window of each metric is over."""
    from discreet_agent.store.store import Store

    fresh_state(agent)
    with agent.running() as pid:
        time.sleep(IDLE_SECONDS)
        peak, after = (own_line(pid, "status", name) / 1024 for name in ("VmHWM", "VmRSS"))
    with Store(agent.state / "agent.db") as store:
        if not store.counters().get("reports_made"):
            raise SystemExit("no window closed")
    return peak, after


def _print(measured: dict[str, list[Footprint]]) -> None:
    limit = measured["same libraries"]
    print(f"medians of {RUNS}; ratio against the same libraries in bare Python")
    print(f"{'':16} {'RSS MB':>8} {'ratio':>6} {'ready s':>8} {'ratio':>6}")
    for name, runs in measured.items():
        rss, ready = median(r.rss_mb for r in runs), median(r.ready_seconds for r in runs)
        rss_ratio = rss / median(r.rss_mb for r in limit)
        ready_ratio = ready / median(r.ready_seconds for r in limit)
        print(f"{name:16} {rss:8.1f} {rss_ratio:6.2f} {ready:8.2f} {ready_ratio:6.2f}")


if __name__ == "__main__":
    main()
