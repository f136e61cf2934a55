"""Disks that are too small, and agents that work on them."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from needs import need


@pytest.fixture
def small_disk(lone):
    """The agent's folder as a file system of its own with 3 MB in memory; only root may make one."""
    folder = lone.folder / "agent"
    folder.mkdir(mode=0o700)
    need(os.geteuid() == 0, "only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    need(done.returncode == 0, f"this machine lets nobody mount: {done.stderr.strip()}")
    lone.configure_agent(min_free_disk_bytes=0)
    yield Disk(folder)
    lone.close()  # or it could not be unmounted
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Disk:
    """A mounted folder that can be filled, and made read-only."""

    def __init__(self, folder):
        self.folder = folder
        self.ballast = Path(folder, "ballast")

    def fill(self, leave_bytes=0):
        """Leave so much room and no more."""
        free = os.statvfs(self.folder)
        size = free.f_bavail * free.f_frsize - leave_bytes
        with suppress(OSError), self.ballast.open("ab") as file:  # others write meanwhile
            file.write(bytes(max(size, 0)))

    def empty(self):
        """There is room again."""
        self.ballast.unlink()

    def remount(self, option):
        """`ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.folder)], check=True)
