"""From socket to disk: the agent as a process, beside the bare limit of SQLite and two libraries that keep events.

Everything in one run, in turn (each contender once, then all of them again, …), so that a drifting machine moves
all; medians of RUNS. Prints Markdown. `--large` measures instead whether an event costs more in a large database.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from agent_process import Agent, enrol, example, file_system, fresh_state, install, usage
from recorder_load import Load, drive, lines_of

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
RUNS = 5
COUNTS = {0: 400, 1: 20_000, 50: 60_000, 1000: 200_000}  # batch → events a run; 0: one event, and wait for its answer
BARE_COUNTS = {1: 4_000, 50: 60_000, 1000: 200_000}
UNDER_WAY = {0: 1, 1: 64, 50: 64, 1000: 8}  # lines that wait for their answer at a time
PEER_EVENTS = 20_000
BATCHES = {  # of those that cannot have all; Glean knows none, each event is a write of its own
    "bare SQLite": BARE_COUNTS,
    "bare SQLite, no ids": BARE_COUNTS,
    "OpenTelemetry": BARE_COUNTS,
    "Glean": (1,),
}
WINDOW_SECONDS = 28 * 86_400
TIME_SPAN_MS = 600_000  # event times lie within so much before the start


TARGETS = (  # what, how much, whether at least so much
    ("rows/s of the bare limit", 0.6, True),
    ("CPU s / 100,000 events", 1.2, False),
    ("bytes written / event", 300.0, False),
    ("times Glean's events/s", 15.0, True),
    ("times OpenTelemetry's events/s", 5.0, True),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one contender did once."""

    events: int
    seconds: float
    cpu_seconds: float
    write_bytes: int
    stalls: tuple[float, ...] = ()
    load_cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Events on disk per second."""
        return self.events / self.seconds

    @property
    def cpu_per_100k(self) -> float:
        """CPU seconds of the recording process for 100,000 events."""
        return self.cpu_seconds / self.events * 100_000

    @property
    def bytes_per_event(self) -> float:
        """Bytes written to disk."""
        return self.write_bytes / self.events


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", help="Python of the peers")
    parser.add_argument("--folder", type=Path, default=Path(".state"), help="on the disk to measure; short path")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--large", type=float, metavar="GB", help="grow a database to this size instead, and clean up")
    arguments = parser.parse_args()
    arguments.folder.mkdir(exist_ok=True)
    kind = file_system(arguments.folder)
    if kind in {"tmpfs", "ramfs"}:
        raise SystemExit(f"{arguments.folder} is a {kind}: nothing would be written; name a folder on a disk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or gigabytes and an agent would stay behind
    folder = Path(tempfile.mkdtemp(prefix="b", dir=arguments.folder.resolve()))
    try:
        if arguments.large:
            from record_large import grow

            print(grow(folder, arguments.large, kind))
        else:
            _compare(folder, arguments.peers, arguments.runs, kind)
    finally:
        shutil.rmtree(folder)


def _compare(folder: Path, peers: str, runs: int, kind: str) -> None:
    media, plain = install(folder / "m", media_policy()), install(folder / "p", plain_policy())
    for agent in (media, plain):
        begin_window(agent)
    most = max(COUNTS.values())
    with_ids, without = make_events(most, with_ids=True), make_events(most)
    single = make_events(most, only="playback.stopped")
    contenders: dict[str, Callable[[int], Run]] = {
        "agent, media policy": lambda batch: run_agent(media, with_ids, batch),
        "agent, no ids": lambda batch: run_agent(media, without, batch),
        "agent, one metric, no ids": lambda batch: run_agent(plain, single, batch),
        "bare SQLite": lambda batch: _run_bare(folder, with_ids, batch),
        "bare SQLite, no ids": lambda batch: _run_bare(folder, without, batch),
        "OpenTelemetry": lambda batch: _run_peer(folder, peers, "opentelemetry", batch),
        "Glean": lambda batch: _run_peer(folder, peers, "glean", batch),
    }
    measured: dict[tuple[str, int], list[Run]] = {}
    for _ in range(runs):
        for batch in COUNTS:
            for name, run in contenders.items():
                if batch in BATCHES.get(name, COUNTS):
                    measured.setdefault((name, batch), []).append(run(batch))
        print(".", end="", flush=True, file=sys.stderr)
    print(report(measured, runs, kind))


# --- what is recorded -------------------------------------------------------------------------------------------------


def media_policy() -> dict[str, Any]:
    """The media example with two metrics more on its busiest signal: five of them read it, and all its fields."""
    policy = example("media")
    shared = {"from": "playback.stopped", "window": "28d", "epsilon": 0.1, "owner": "b@b.example", "why": "for a bench"}
    policy["metrics"] |= {
        "plays": shared | {"per_device": "count", "type": "count", "bounds": [0, 1000]},
        "days": shared | {"per_device": "active_days", "type": "count", "bounds": [0, 28]},
    }
    policy["budget"] = {"per_28_days": 4, "per_365_days": 30, "lifetime": 120}
    return policy


def plain_policy() -> dict[str, Any]:
    """One signal, one metric."""
    policy = media_policy()
    keep = {"discreet", "fleet", "version", "release", "consent", "aggregator", "budget", "lateness", "suppress"}
    return {name: part for name, part in policy.items() if name in keep} | {
        "signals": {"playback.stopped": policy["signals"]["playback.stopped"]},
        "metrics": {"plays": policy["metrics"]["plays"]},
    }


def make_events(count: int, *, with_ids: bool = False, only: str = "", seed: int = 1) -> list[bytes]:
    """Encoded events: 95 of 100 playbacks, 4 exposures, 1 crash; times rise through the minutes before now."""
    rng = random.Random(seed)  # noqa: S311 - test data
    now_ms = time.time_ns() // 1_000_000
    events = []
    for number in range(count):
        chance = 0.0 if only else rng.random()
        signal = "playback.stopped" if chance < 0.95 else "autoplay.shown" if chance < 0.99 else "app.crashed"
        event: dict[str, Any] = {"signal": signal, "version": "1-1-0" if signal == "playback.stopped" else "1-0-0"}
        event["time"] = now_ms - TIME_SPAN_MS + number * TIME_SPAN_MS // count
        if with_ids:
            event["id"] = f"{rng.getrandbits(96):024x}"
        event["fields"] = {}
        if signal == "playback.stopped":
            genre = rng.choice(("news", "drama", "sport", "music", "other"))
            event["fields"] = {"genre": genre, "seconds": rng.randrange(86_400), "evening": rng.random() < 0.3}
        events.append(json.dumps(event, separators=(",", ":")).encode())
    return events


def begin_window(agent: Agent) -> None:
    """Enrol so that every metric is within its present window, and keep that state."""
    now = int(time.time())
    enrol(agent, now - now % WINDOW_SECONDS)
    fresh_state(agent)


# --- one run of each --------------------------------------------------------------------------------------------------


def run_agent(agent: Agent, events: list[bytes], batch: int) -> Run:
    """A new state folder, a new process; the bytes of closing the database are in it."""
    fresh_state(agent)
    used = events[: COUNTS[batch]]
    with agent.running() as pid:
        time.sleep(0.3)  # the first tick: begins windows
        written_before = usage(pid).write_bytes
        run = measure(agent, pid, used, batch)
        written = agent.end().write_bytes - written_before
    check_tallied(agent, used, len(run.stalls))
    return replace(run, write_bytes=written)


def measure(agent: Agent, pid: int, events: list[bytes], batch: int) -> Run:
    """The load on one connection, and where batches are sent the probe on another."""
    load = Load(lines_of(events, max(batch, 1)), max(batch, 1), UNDER_WAY[batch])
    probe = _start_probe(agent) if batch else None
    before = usage(pid)
    seconds, load_cpu = drive(agent.socket, load)
    stalls = _end_probe(probe) if probe else ()
    after = usage(pid)
    return Run(
        events=len(events) + len(stalls),
        seconds=seconds,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        write_bytes=after.write_bytes - before.write_bytes,
        stalls=stalls,
        load_cpu_seconds=load_cpu,
    )


def _start_probe(agent: Agent) -> subprocess.Popen[str]:
    [line] = make_events(1, only="playback.stopped")
    command = [sys.executable, str(HERE / "recorder_load.py"), str(agent.socket), line.decode()]
    probe = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(0.2)  # until it has imported what it needs
    return probe


def _end_probe(probe: subprocess.Popen[str]) -> tuple[float, ...]:
    output, _ = probe.communicate()
    if probe.returncode:
        raise SystemExit("the probe failed")
    return tuple(json.loads(output))


def check_tallied(agent: Agent, events: list[bytes], probes: int) -> None:
    """Every event is in the metric that counts them, or the agent did less than it is measured for."""
    from discreet_agent.store.store import Store

    expected = sum(b'"playback.stopped"' in event for event in events) + probes
    with Store(agent.state / "agent.db") as store:
        rows = store.connection.execute("SELECT state FROM tallies WHERE metric = 'plays'").fetchall()
    import msgspec

    counted = sum(msgspec.msgpack.decode(state) for [state] in rows)
    if counted != expected:
        raise SystemExit(f"{counted} of {expected} events were tallied; if a window ended meanwhile, run this again")


def _run_bare(folder: Path, events: list[bytes], batch: int) -> Run:
    used = events[: BARE_COUNTS[batch]]
    own = folder / "bare"
    own.mkdir()
    (own / "lines").write_bytes(b"\n".join(used))
    run = _child([sys.executable, str(HERE / "recorder_bare.py"), str(own / "lines"), str(batch), str(own)], len(used))
    shutil.rmtree(own)
    return run


def _run_peer(folder: Path, python: str, name: str, batch: int) -> Run:
    own = folder / "peer"
    own.mkdir()
    count = PEER_EVENTS if batch > 1 or name == "glean" else PEER_EVENTS // 4
    run = _child([python, str(HERE / "recorder_peers.py"), name, str(count), str(batch), str(own)], count)
    shutil.rmtree(own)
    return run


def _child(command: list[str], events: int) -> Run:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    said = json.loads(done.stdout.splitlines()[-1])
    stalls = tuple(said.get("stalls", ()))
    return Run(events, said["seconds"], said["cpu_seconds"], said["write_bytes"], stalls)


# --- the table --------------------------------------------------------------------------------------------------------


def report(measured: dict[tuple[str, int], list[Run]], runs: int, kind: str) -> str:
    """Markdown: what it was measured on, one row for each contender and batch, and each target met or missed."""
    rates = {key: median(run.rate for run in those) for key, those in measured.items()}
    lines = [
        f"Medians of {runs} runs in turn; {os.cpu_count()} processors, {kind}.",
        "",
        "| who | events a batch | events/s | of bare | CPU s / 100,000 | bytes / event | stall p50 ms | stall p99 ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for batch in COUNTS:
        for (name, its_batch), those in measured.items():
            if its_batch == batch:
                bare = rates.get(("bare SQLite, no ids" if "no ids" in name else "bare SQLite", batch))
                lines.append(_row(name, batch, those, bare))
    load = [run.load_cpu_seconds / run.seconds for key, those in measured.items() if key[1] == 1000 for run in those]
    lines += ["", f"The sender used at most {max(load):.0%} of one processor at 1000 events a batch.", ""]
    return "\n".join([*lines, *_targets(measured, rates)])


def _row(name: str, batch: int, those: list[Run], bare: float | None) -> str:
    rate = median(run.rate for run in those)
    stalls = [quantiles(run.stalls, n=100) for run in those if len(run.stalls) > 1]
    cells = [
        f"**{name}**" if name.startswith("agent") else name,
        {0: "1, one under way", 1: f"1, {UNDER_WAY[1]} under way"}.get(batch, str(batch))
        if name.startswith("agent")
        else str(batch),
        f"{rate:,.0f}",
        f"{rate / bare:.2f}" if bare else "",
        f"{median(run.cpu_per_100k for run in those):.2f}",
        f"{median(run.bytes_per_event for run in those):,.0f}",
        *([f"{median(cut[at] for cut in stalls) * 1000:.1f}" for at in (49, 98)] if stalls else ["", ""]),
    ]
    return f"| {' | '.join(cells)} |"


def _targets(measured: dict[tuple[str, int], list[Run]], rates: dict[tuple[str, int], float]) -> list[str]:
    lines = [
        "| media policy, 1000 events a batch | target | with ids | | no ids | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    columns = [
        _compared(measured["agent, media policy", 1000], rates["bare SQLite", 1000], rates),
        _compared(measured["agent, no ids", 1000], rates["bare SQLite, no ids", 1000], rates),
    ]
    for (name, target, is_floor), *values in zip(TARGETS, *columns, strict=True):
        verdicts = ["met" if (value >= target) is is_floor else "**missed**" for value in values]
        sign = "≥" if is_floor else "≤"
        cells = [f"{value:,.3g} | {verdict}" for value, verdict in zip(values, verdicts, strict=True)]
        lines.append(f"| {name} | {sign} {target:g} | {' | '.join(cells)} |")
    return lines


def _compared(ours: list[Run], bare: float, rates: dict[tuple[str, int], float]) -> list[float]:
    rate = median(run.rate for run in ours)
    return [
        rate / bare,
        median(run.cpu_per_100k for run in ours),
        median(run.bytes_per_event for run in ours),
        rate / rates["Glean", 1],
        rate / rates["OpenTelemetry", 1000],
    ]


if __name__ == "__main__":
    main()
