"""The 1st, 2nd, … n-th file operation fails, or the power does: nothing acknowledged is lost, nothing counts twice.

By default some operations spread evenly over a life; with --slow every single one.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from file_faults.stricken import KINDS
from lives import COMPILER, Lives, compile_library
from needs import need

SAMPLE = 4


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    need(COMPILER, "there is no C compiler (Debian: apt-get install gcc libc6-dev)")
    return compile_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def lives(library, tmp_path):
    """In memory where there is such a folder: what the power leaves is decided by the library, not by the disk."""
    shm = Path("/dev/shm")  # noqa: S108 - a new folder in it
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else tmp_path) as folder:
        lives = Lives(library, Path(folder))
        yield lives
        lives.close()


def strike(lives, kind, operations):
    """One life for each operation; every one must leave a folder in order."""
    ended = []
    for at in operations:
        left = lives.live(kind, at)
        assert left.was_struck, at
        try:
            left.check()
        except Exception as exc:
            exc.add_note(f"{kind} at operation {at}, which ended: {left.facts}")
            raise
        ended.append(left.facts["ended"])
    return ended


def test_a_life_without_faults(lives):
    """What is to be struck: it ends well, all is acknowledged and there."""
    left = lives.live("EIO", 0)
    assert left.facts["ended"] == "well"
    assert left.facts["operations"] > 150
    left.check()


@pytest.mark.parametrize("kind", KINDS)
def test_an_operation_fails(lives, kind):
    """A device goes on by itself after an error; after a kill or a power cut, from what is on disk."""
    total = lives.live(kind, 0).facts["operations"]
    ended = strike(lives, kind, range(3, total, total // SAMPLE))
    assert set(ended) == ({"killed"} if kind in {"KILL", "POWER", "SOME"} else {"well"} if kind != "TORN" else {*ended})


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_fails(lives, kind):
    """The same, none left out."""
    total = lives.live(kind, 0).facts["operations"]
    strike(lives, kind, range(1, total + 1))


def test_a_power_cut_takes_what_was_not_synced(library, tmp_path):
    """The fault itself: what was synced stays, what was only written is gone, with whatever it had replaced back."""
    program = """
import ctypes, os, sys
faults = ctypes.CDLL(os.environ["LD_PRELOAD"])
faults.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long]
faults.faults_arm(sys.argv[1].encode(), 5, 6)
file = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)
os.pwrite(file, b"synced", 0); os.fsync(file)
os.pwrite(file, b"never", 0); os.pwrite(file, b" nor this", 6)
os.open(sys.argv[1] + "/other", os.O_RDWR | os.O_CREAT)
"""
    environment = os.environ | {"LD_PRELOAD": str(library)}
    done = subprocess.run([sys.executable, "-c", program, tmp_path], env=environment, check=False)
    assert done.returncode == -9
    assert (tmp_path / "file").read_bytes() == b"synced"
