"""Starting the product's own commands, waiting for them, and ending them: nothing here knows what they do."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


class Processes:
    """Background commands with their logs in one folder; all end with the context."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._started: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *exc: object) -> None:
        for _, process, _ in reversed(self._started):
            process.terminate()
        for _, process, log in reversed(self._started):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()
            process.wait()
            log.close()

    def start(self, name: str, *arguments: str) -> None:
        """Run `discreet …` in the background."""
        log = (self._logs / f"{name}.log").open("wb")
        process = subprocess.Popen(["discreet", *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._started.append((name, process, log))

    def check(self) -> None:
        """Raise SystemExit with the log's end if one of them has ended."""
        for name, process, _ in self._started:
            if process.poll() is not None:
                tail = (self._logs / f"{name}.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{name} ended with exit code {process.returncode}:\n{tail}")

    def wait_for(self, what: str, ready: Any, *, seconds: float) -> Any:
        """Poll `ready()` until it gives something true; fails when a process ends or time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            found = ready()
            if found:
                return found
            time.sleep(0.2)
        raise SystemExit(f"{what} did not happen within {seconds:.0f} s; logs are in {self._logs}")


def discreet(*arguments: str) -> str:
    """Run one `discreet` command; its output, or SystemExit with what it said."""
    done = subprocess.run(["discreet", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"discreet {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def discreet_json(*arguments: str) -> Any:
    """The same with --json, decoded."""
    return json.loads(discreet(*arguments, "--json"))


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Whether something listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
