"""Idle memory and start time of the agent, beside bare Python and beside Python with the same libraries loaded.

Medians of RUNS in turn (agent, libraries, bare, agent, …), so that a drifting machine moves all three.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
RUNS = 7
IDLE_SECONDS = 2.5
LIBRARIES = "asyncio, sqlite3, msgspec, nacl.public, nacl.signing, paho.mqtt.client, structlog, click, rfc8785"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resident memory when idle, and seconds from the start of the process to readiness."""

    rss_mb: float
    ready_seconds: float


def main() -> None:
    """Measure and print one table."""
    with tempfile.TemporaryDirectory(prefix="dsc") as folder:
        agent = _agent(Path(folder))
        socket = Path(folder) / "agent.sock"
        measured: dict[str, list[Footprint]] = {"agent, idle": [], "same libraries": [], "bare Python": []}
        for _ in range(RUNS):
            measured["agent, idle"].append(_measure(agent, socket))
            measured["same libraries"].append(_measure(_python(f"import {LIBRARIES}", folder), Path(folder) / "ready"))
            measured["bare Python"].append(_measure(_python("pass", folder), Path(folder) / "ready"))
    _print(measured)


def _agent(folder: Path) -> list[str]:
    """A device with the flights policy, no broker listening: connected or not, it idles alike."""
    key = subprocess.run(
        ["discreet", "policy", "keys", "new", folder / "root.key"], capture_output=True, text=True, check=True
    )
    example = ROOT / "policies" / "examples" / "flights.yaml"
    delivered, log = folder / "policy.json", folder / "releases"
    for command in (
        ["release", example, "--log", log, "--key", folder / "root.key"],
        ["publish", "--log", log, "--output", delivered],
    ):
        subprocess.run(["discreet", "policy", *command], check=True, stdout=subprocess.DEVNULL)
    (folder / "agent.toml").write_text(
        f'policy = "{delivered}"\nroots = ["{key.stdout.strip()}"]\nstate_dir = "state"\nsocket = "agent.sock"\n'
        '[broker]\nurl = "mqtt://127.0.0.1:9"\n',
        encoding="utf-8",
    )
    return ["discreet", "agent", "run", "--config", str(folder / "agent.toml")]


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
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        process.kill()
    ready.unlink(missing_ok=True)
    rss_kb = int(status.split("VmRSS:")[1].split()[0])
    return Footprint(rss_kb / 1024, ready_seconds)


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
