"""A real agent as a real process, for benchmarks.

Its policy is released by the product's own commands, its state folder is enrolled beforehand, and what it used is
what the kernel says of the process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).resolve().parents[2] / "policies" / "examples"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used up to now."""

    cpu_seconds: float
    write_bytes: int


@dataclass(slots=True)
class Agent:
    """An installed device. `folder` holds everything; the socket lies in it, so keep its path short."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "agent.sock"

    @property
    def state(self) -> Path:
        """Its state folder."""
        return self.folder / "state"

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return ["discreet", "agent", "run", "--config", str(self.folder / "agent.toml")]

    @contextmanager
    def running(self) -> Iterator[int]:
        """Start it, yield its process id once it listens; it is ended gently, and killed if that takes too long."""
        with subprocess.Popen(self.command, stderr=(self.folder / "agent.log").open("ab")) as process:
            self.process = process
            try:
                self._wait_until_ready(process)
                yield process.pid
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        while not self.socket.exists():
            if process.poll() is not None:
                raise SystemExit((self.folder / "agent.log").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.002)

    def end(self) -> Usage:
        """End it and read what it used in all: its database is folded and closed by then."""
        assert self.process is not None  # noqa: S101 - only within `running`
        self.process.send_signal(signal.SIGTERM)
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)  # it stays readable until it is waited for
        used = usage(self.process.pid)
        self.process.wait()
        return used


def install(folder: Path, policy: dict[str, Any], extra: str = "") -> Agent:
    """Release a policy and configure a device for it; no broker listens: connected or not, it records alike."""
    folder.mkdir(parents=True)
    source, delivered, log = folder / "policy.yaml", folder / "policy.json", folder / "releases"
    source.write_text(json.dumps(policy, default=str), encoding="utf-8")  # JSON is YAML; dates are text in it
    key = _discreet("keys", "new", folder / "root.key").strip()
    _discreet("release", source, "--log", log, "--key", folder / "root.key")
    _discreet("publish", "--log", log, "--output", delivered)
    (folder / "agent.toml").write_text(
        f'policy = "{delivered}"\nroots = ["{key}"]\nstate_dir = "state"\nsocket = "agent.sock"\n{extra}'
        '[broker]\nurl = "mqtt://127.0.0.1:9"\n',
        encoding="utf-8",
    )
    return Agent(folder)


def _discreet(*arguments: str | Path) -> str:
    run = subprocess.run(["discreet", "policy", *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stdout + run.stderr)
    return run.stdout


def enrol(agent: Agent, at_second: int) -> None:
    """Open the device once as if it were `at_second`, so that windows which begin then are counted.

    A new device waits for the next whole window of each metric; a benchmark would measure nothing but that wait.
    """
    from discreet_agent.config import load_settings
    from discreet_agent.device import open_device
    from discreet_agent.policies import Policies
    from discreet_contract.clock import ManualClock, SystemClock
    from discreet_contract.policy.obey import Trust
    from discreet_contract.state_folder import make_state_folder

    settings = load_settings(agent.folder / "agent.toml")
    make_state_folder(settings.state_dir)
    policies = Policies(settings.policy, Trust(settings.roots, settings.witness), settings.state_dir, SystemClock())
    with open_device(settings.state_dir, policies.start().policy, ManualClock(at_second * 1000)) as device:
        device.pipeline.close_windows()


def fresh_state(agent: Agent) -> None:
    """Put the state folder back as `enrol` left it; the first call keeps it aside."""
    kept = agent.folder / "enrolled"
    if not kept.exists():
        shutil.copytree(agent.state, kept)
    shutil.rmtree(agent.state)
    shutil.copytree(kept, agent.state)


def usage(pid: int) -> Usage:
    """CPU time of all threads, and bytes for the block device; the journal of the file system is not in them."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(") ", 1)[1].split()
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, own_line(pid, "io", "write_bytes"))


def own_line(pid: int, file: str, name: str) -> int:
    """The number behind `name:` in /proc/PID/FILE; sizes are in kB."""
    lines = Path(f"/proc/{pid}/{file}").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def example(name: str) -> dict[str, Any]:
    """An example policy, on a device whose owner need not be asked first."""
    policy: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    return policy | {"consent": "managed"}


def file_system(folder: Path) -> str:
    """Type of the file system that holds a folder, like ext4."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    holding = [(len(where), kind) for where, kind in mounts if folder.resolve().is_relative_to(where)]
    return max(holding)[1]
