"""Ids of the events of the last seven days, in memory: 8 bytes each, four lookups at the most worth mentioning.

Ids are known by a digest under a key of this device and the sender's name, so that they tell a reader
nothing, and no sender can claim another one's.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOW_SECONDS = 7 * 86_400  # of retention time, from arrival
MOST_IDS = 400_000  # 3.2 MB; beyond it the oldest are known no more
_RUN_IDS = 50_000
_RUN_SECONDS = 86_400
_RECENT = 4096


class Digester:
    """Makes the digests of one device."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(b"event ids", key=secret[:64], digest_size=32).digest()

    def __call__(self, sender: str, event_id: str) -> bytes:
        """Eight bytes for one sender's event id."""
        said = f"{len(sender)} {sender}{event_id}".encode()
        return blake2b(said, key=self._key, digest_size=8).digest()


class KnownIds:
    """A set of digests that forgets by age and by number."""

    def __init__(self) -> None:
        self._runs: deque[tuple[int, array[int]]] = deque()  # (latest arrival, sorted), oldest first
        self._recent: set[int] = set()
        self._run = array("Q")
        self._run_began = self._latest = 0
        self._size = 0
        self.dropped = 0  # known no more, for want of room

    def __contains__(self, digest: bytes) -> bool:
        number = int.from_bytes(digest, "little")
        return (
            number in self._recent
            or _holds(self._run, number)
            or any(_holds(run, number) for _, run in reversed(self._runs))
        )

    def __len__(self) -> int:
        return self._size

    def add(self, digests: Iterable[bytes], arrived: int) -> None:
        """Know these from now on; `arrived` in seconds of retention time, never less than before."""
        numbers = [int.from_bytes(digest, "little") for digest in digests]
        if not numbers:
            return
        if not self._recent and not self._run:
            self._run_began = arrived
        self._recent.update(numbers)
        self._size += len(numbers)
        self._latest = max(self._latest, arrived)
        if len(self._recent) >= _RECENT or self._latest - self._run_began >= _RUN_SECONDS:
            self._spill()

    def forget(self, before: int) -> None:
        """Forget what arrived before that second, give or take a day."""
        while self._runs and self._runs[0][0] < before:
            self._size -= len(self._runs.popleft()[1])

    def _spill(self) -> None:
        self._run = array("Q", sorted([*self._run, *self._recent]))
        self._recent.clear()
        if len(self._run) < _RUN_IDS and self._latest - self._run_began < _RUN_SECONDS:
            return
        self._runs.append((self._latest, self._run))
        self._run = array("Q")
        while self._size > MOST_IDS and self._runs:
            gone = len(self._runs.popleft()[1])
            self._size -= gone
            self.dropped += gone


def split_digests(digests: bytes) -> list[bytes]:
    """The digests of a block's column, one by one."""
    return [digests[at : at + 8] for at in range(0, len(digests), 8)]


def _holds(run: array[int], number: int) -> bool:
    at = bisect_left(run, number)
    return at < len(run) and run[at] == number
