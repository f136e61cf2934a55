"""How much of the disk must stay free: below that, events are refused rather than the machine's last room taken."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class FreeDisk:
    """The disk under the state folder, and how many of its bytes are not ours to take."""

    folder: Path
    min_free_bytes: int

    def shortage(self) -> str | None:
        """What is free and what must be, where that is less; None where there is enough, or nobody can tell."""
        try:
            disk = os.statvfs(self.folder)
        except OSError:  # writing will show what is wrong
            return None
        free = disk.f_bavail * disk.f_frsize
        if free >= self.min_free_bytes:
            return None
        return f"{free / _MB:.1f} MB are free, and {self.min_free_bytes / _MB:g} MB must stay free"
