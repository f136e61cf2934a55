"""The faults of the network themselves, and that nothing of them outlives a run."""

import subprocess
import sys
from pathlib import Path

import pytest

from needs import need
from netns import Network, sweep, why_not

pytestmark = pytest.mark.slow

KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from netns import Network
with Network("east") as network:
    network.mount_small(Path(sys.argv[2]), 1)
    left = subprocess.Popen(network.inside("east", ["sleep", "1000"]), stdout=subprocess.DEVNULL)
    print(left.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
ASK = "import socket, sys; socket.create_connection((sys.argv[1], 7000), timeout=1).close()"
ANSWER = """
import socket
with socket.create_server(("0.0.0.0", 7000)) as server:
    print("listens", flush=True)
    while True:
        server.accept()
"""


@pytest.fixture(autouse=True)
def _possible():
    reason = why_not()
    need(not reason, reason)


def test_a_killed_run_is_swept_up(tmp_path):
    """Its namespaces, what still runs inside them and its mounts are gone before the next run begins."""
    folder = tmp_path / "small"
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, Path(__file__).parents[1] / "_lib", folder], stdout=subprocess.PIPE, text=True
    )
    left = int(run.communicate()[0])
    assert run.returncode == -9
    assert f"dsc{run.pid}-east" in named()
    assert str(folder) in mounts()
    sweep()
    assert f"dsc{run.pid}-" not in named()
    assert str(folder) not in mounts()
    status = Path(f"/proc/{left}/stat")  # where nobody reaps orphans it stays as a zombie
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_links_and_loss():
    """A cut link passes nothing until it is mended; at 100 % nothing passes either, and what was dropped is counted."""
    with Network("east", "west") as network:
        server = subprocess.Popen(network.inside("hub", [sys.executable, "-c", ANSWER]), stdout=subprocess.PIPE)
        try:
            assert server.stdout.readline() == b"listens\n"
            assert reaches(network, "east")
            network.cut("east")
            assert not reaches(network, "east")
            assert reaches(network, "west")
            network.mend("east")
            assert reaches(network, "east")
            network.lose(100)
            assert not reaches(network, "west")
            assert network.dropped() > 0
            network.lose(0)
            assert reaches(network, "west")
        finally:
            server.kill()
            server.communicate()


def reaches(network, place):
    command = network.inside(place, [sys.executable, "-c", ASK, network.hub_address(place)])
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def named():
    return subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout


def mounts():
    return Path("/proc/mounts").read_text()
