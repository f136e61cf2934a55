"""Which workers are connected: a byte for each in memory that their processes share.

Nothing can block on it or fill it: a worker writes its own byte, and whoever looks after all of them reads them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True, slots=True)
class Board:
    """Hand `descriptor` to a worker's process, where `Board(descriptor)` is the same one."""

    descriptor: int

    @classmethod
    def made(cls) -> Self:
        """A new one; nobody is connected."""
        return cls(os.memfd_create("discreet-workers"))

    def tell(self, worker: int, *, is_connected: bool) -> None:
        """Whether this worker, from 1, has its subscription now."""
        os.pwrite(self.descriptor, bytes([is_connected]), worker - 1)

    def connected(self, workers: int) -> int:
        """How many of so many workers are."""
        return sum(os.pread(self.descriptor, workers, 0))

    def close(self) -> None:
        """Let go of it; no worker of this process may tell it anything any more."""
        os.close(self.descriptor)
