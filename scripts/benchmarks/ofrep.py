"""OFREP under load: the agent as a real process with the media policy, beside fast-feature with the same flags.

python ofrep.py PYTHON-OF-THE-PEER. Kept connections, one request under way on each. CPU is what the kernel counted for
the server's process during the requests. All contenders in turn, RUNS times; medians.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from agent_process import enrol, example, install, own_line, usage
from ofrep_load import PATH, Question, ask, press
from ofrep_reaction import ROUNDS, Reaction, measure, with_a_flag_that_flips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

RUNS = 5
REQUESTS = 4000
WARM_UP = 400
EVENTS = 2000
AGENT, PEER = "agent", "fast-feature"
CONTEXT = {"targetingKey": "somebody", "country": "NL", "app": "2.4.1"}
KNOWN = {"segments": ["binge"], "experiments": {"autoplay-2027": "on"}}  # what the agent adds and the peer is told
TARGETS_MS = {"one flag": 0.5, "all flags, 304": 0.3}


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request, over so many connections."""

    name: str
    connections: int

    def question(self, body: bytes, address: str) -> Question:
        """What is asked, over and over."""
        if self.name == "one flag":
            return Question(f"{PATH}/rows", body)
        everything = Question(PATH, body)
        if self.name == "all flags":
            return everything
        head, _ = ask(address, everything)
        validator = re.search(rb"(?im)^etag: (.+?)\r?$", head)
        if validator is None:
            raise SystemExit(f"no ETag in {head!r}")
        return Question(PATH, body, (f"If-None-Match: {validator[1].decode()}",), 304)


LOADS = [Load(name, count) for count in (1, 8) for name in ("one flag", "all flags", "all flags, 304")]


@dataclass(frozen=True, slots=True)
class Measured:
    """One load on one server."""

    cpu_ms: float  # for each request
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Measure and print."""
    [peer_python] = sys.argv[1:]
    measured: dict[tuple[str, Load], list[Measured]] = {}
    memory: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="dsc") as folder:
        policy = example("media")
        contenders: dict[str, Callable[[], AbstractContextManager[tuple[str, int]]]] = {
            AGENT: _agent(Path(folder) / "a", policy),
            PEER: lambda: _peer(peer_python, Path(folder) / "flags.json", policy["flags"]),
        }
        for _ in range(RUNS):
            for name, running in contenders.items():
                with running() as (address, pid):
                    for load in LOADS:
                        measured.setdefault((name, load), []).append(_measure(name, load, address, pid))
                    memory.setdefault(name, []).append(own_line(pid, "status", "VmRSS") / 1024)
        reaction = _reaction(Path(folder) / "r", policy)
    _print(measured, memory)
    _print_reaction(reaction)


def _reaction(folder: Path, policy: dict[str, Any]) -> Reaction:
    running, path = _agent(folder, with_a_flag_that_flips(policy)), folder / "agent.sock"
    with running() as (address, _):
        return measure(address, path)


def _agent(folder: Path, policy: dict[str, Any]) -> Callable[[], AbstractContextManager[tuple[str, int]]]:
    address = f"127.0.0.1:{_free_port()}"
    agent = install(folder, policy, f'http = "{address}"\n')
    enrol(agent, int(time.time()))

    @contextmanager
    def running() -> Iterator[tuple[str, int]]:
        with agent.running() as pid:
            _await_answer(address)
            _fill(agent.socket)
            yield address, pid

    return running


def _fill(path: Path) -> None:
    """Events of the last days, so that features and segments have something to say."""
    from discreet_agent.ask import ask as tell

    now_ms = time.time_ns() // 1_000_000
    events = [
        {"signal": "playback.stopped", "version": "1-1-0", "time": now_ms - number * 60_000}
        | {"fields": {"genre": ("news", "drama", "sport")[number % 3], "seconds": 60, "evening": number % 2 == 0}}
        for number in range(EVENTS)
    ]
    answer = tell(path, json.dumps({"events": events}).encode())
    if answer.get("ok") != EVENTS:
        raise SystemExit(f"the agent did not take its events: {answer}")


@contextmanager
def _peer(python: str, file: Path, flags: dict[str, Any]) -> Iterator[tuple[str, int]]:
    file.write_text(json.dumps(flags), encoding="utf-8")
    port = _free_port()
    command = [python, str(Path(__file__).with_name("ofrep_peer.py")), str(port), str(file)]
    with subprocess.Popen(command) as process:
        try:
            _await_answer(f"127.0.0.1:{port}")
            yield f"127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_answer(address: str) -> None:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        try:
            head, body = ask(address, Question(f"{PATH}/rows", _body(AGENT)))
        except OSError:
            time.sleep(0.02)
            continue
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"{address} does not serve flags: {head!r} {body!r}")
        return
    raise SystemExit(f"nobody answers on {address}")


def _body(name: str) -> bytes:
    return json.dumps({"context": CONTEXT | (KNOWN if name == PEER else {})}).encode()


def _measure(name: str, load: Load, address: str, pid: int) -> Measured:
    question = load.question(_body(name), address)
    press(address, question, WARM_UP, load.connections)
    before = usage(pid).cpu_seconds
    took = press(address, question, REQUESTS, load.connections)
    cpu = usage(pid).cpu_seconds - before
    return Measured(cpu / len(took) * 1000, took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000)


def _print(measured: dict[tuple[str, Load], list[Measured]], memory: dict[str, list[float]]) -> None:
    print("| who | asked for | connections | server CPU ms / request | p50 ms | p99 ms |")
    print("| --- | --- | --- | --- | --- | --- |")
    cpu: dict[tuple[str, Load], float] = {}
    for (name, load), runs in measured.items():
        cpu[name, load] = median(run.cpu_ms for run in runs)
        p50, p99 = median(run.p50_ms for run in runs), median(run.p99_ms for run in runs)
        print(f"| {name} | {load.name} | {load.connections} | {cpu[name, load]:.2f} | {p50:.2f} | {p99:.2f} |")
    print("\n| server CPU ms / request | target | agent | | fast-feature |")
    print("| --- | --- | --- | --- | --- |")
    for load in LOADS:
        if load.name in TARGETS_MS and load.connections == 1:
            own, target = cpu[AGENT, load], TARGETS_MS[load.name]
            verdict = "met" if own <= target else "**missed**"
            print(f"| {load.name} | ≤ {target} | {own:.2f} | {verdict} | {cpu[PEER, load]:.2f} |")
    said = ", ".join(f"{name} {median(runs):.0f} MB" for name, runs in memory.items())
    print(f"\nResident after {len(LOADS)} loads of {REQUESTS + WARM_UP:,} requests: {said}.")


def _print_reaction(reaction: Reaction) -> None:
    print(f"\n{ROUNDS} single events, one after the other; ms from sending one until:\n")
    print("| | p50 | p99 | largest |")
    print("| --- | --- | --- | --- |")
    for what, seconds in (
        ("it is on disk and its sender was answered", reaction.stored),
        ("OFREP answers otherwise", reaction.answered),
        ("a stream of changes says so", reaction.streamed),
    ):
        p50, p99, most = (1000 * seconds[at] for at in (len(seconds) // 2, len(seconds) * 99 // 100, -1))
        print(f"| {what} | {p50:.1f} | {p99:.1f} | {most:.1f} |")


if __name__ == "__main__":
    main()
