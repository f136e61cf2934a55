"""Network namespaces joined to one hub by veth: loss, links taken down, and all of it gone at the end.

Names carry the pid of who made them. A run that was killed leaves its namespaces and mounts behind;
the next one ends whatever still runs inside them and takes them away.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

PREFIX = "dsc"
_MADE = re.compile(rf"{PREFIX}(\d+)-(\w+)")
_TOOLS = ("ip", "nft", "nsenter", "mount", "umount")
_LOSS = """
table inet faults {{
  chain arriving {{
    type filter hook input priority 0;
    iifname != "lo" meta l4proto tcp {chance} counter drop
  }}
}}
"""
PORT = 1883


def why_not() -> str:
    """Why no namespace can be made here; empty where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found (Debian: apt-get install iproute2 nftables util-linux)"
    probe = f"{PREFIX}{os.getpid()}-probe"
    if _run("ip", "netns", "add", probe, check=False).returncode != 0:
        return "this machine lets nobody make a network namespace"
    tables = _run("ip", "netns", "exec", probe, "nft", "list", "tables", check=False)
    _run("ip", "netns", "del", probe)
    return "" if tables.returncode == 0 else "nftables does not work inside a namespace here"


class Network:
    """A hub and the places around it, each in a namespace of its own. A context manager."""

    def __init__(self, *places: str) -> None:
        sweep()
        self._places = places
        self._mounts: list[Path] = []

    def __enter__(self):
        try:
            self._make("hub")
            for number, place in enumerate(self._places, start=1):
                self._make(place)
                self._join(place, number)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Take everything away, whatever state it is in."""
        for folder in self._mounts:
            _run("umount", "--lazy", str(folder), check=False)
        _clear(os.getpid())

    def inside(self, place: str, command: list[str]) -> list[str]:
        """The command that runs `command` there. It replaces itself, so that its process id is the command's."""
        return ["nsenter", f"--net=/run/netns/{_name(place)}", "--", *command]

    def hub_address(self, place: str) -> str:
        """Where `place` finds the hub."""
        return f"10.231.{self._places.index(place) + 1}.1"

    def lose(self, percent: int) -> None:
        """From now on so many of a hundred TCP packets are dropped wherever they arrive; 0 ends it."""
        chance = f"numgen random mod 100 < {percent}" if percent < 100 else ""
        for place in ("hub", *self._places):
            enter = self.inside(place, ["nft"])
            _run(*enter, "delete", "table", "inet", "faults", check=False)
            if percent:
                _run(*enter, "-f", "-", stdin=_LOSS.format(chance=chance))

    def dropped(self) -> int:
        """Packets that `lose` has dropped since it was last called."""
        found = 0
        for place in ("hub", *self._places):
            rules = _run(*self.inside(place, ["nft", "list", "ruleset"])).stdout
            found += sum(int(number) for number in re.findall(r"counter packets (\d+)", rules))
        return found

    def cut(self, place: str) -> None:
        """Nothing passes between the place and the hub, in either direction, and nobody is told."""
        _run("ip", "-n", _name("hub"), "link", "set", f"to-{place}", "down")

    def mend(self, place: str) -> None:
        """The link is there again."""
        _run("ip", "-n", _name("hub"), "link", "set", f"to-{place}", "up")

    def mount_small(self, folder: Path, megabytes: int) -> None:
        """A file system of its own, of this size, at `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", _name("disk"), str(folder))
        self._mounts.append(folder)

    def _make(self, place: str) -> None:
        _run("ip", "netns", "add", _name(place))
        _run("ip", "-n", _name(place), "link", "set", "lo", "up")

    def _join(self, place: str, number: int) -> None:
        hub, there = _name("hub"), _name(place)
        _run("ip", "-n", hub, "link", "add", f"to-{place}", "type", "veth", "peer", "name", "to-hub", "netns", there)
        for name, link, host in ((hub, f"to-{place}", 1), (there, "to-hub", 2)):
            _run("ip", "-n", name, "address", "add", f"10.231.{number}.{host}/24", "dev", link)
            _run("ip", "-n", name, "link", "set", link, "up")


def sweep() -> None:
    """Take away what runs that were killed left behind."""
    listed = _run("ip", "netns", "list").stdout + Path("/proc/mounts").read_text()
    for pid in {int(found) for found, _ in _MADE.findall(listed)}:
        if not Path(f"/proc/{pid}").exists():
            _clear(pid)


def _clear(pid: int) -> None:
    for line in Path("/proc/mounts").read_text().splitlines():
        source, folder, *_ = line.split()
        if source == f"{PREFIX}{pid}-disk":
            _run("umount", "--lazy", folder, check=False)
    for name in _run("ip", "netns", "list").stdout.split("\n"):
        made = _MADE.match(name)
        if made is None or int(made[1]) != pid:
            continue
        for process in _run("ip", "netns", "pids", made[0], check=False).stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        _run("ip", "netns", "del", made[0], check=False)


def _name(place: str) -> str:
    return f"{PREFIX}{os.getpid()}-{place}"


def _run(*command: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done
