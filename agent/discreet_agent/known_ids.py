"""Ids of the events of the last seven days, in memory: 8 bytes each and a megabyte, one lookup for nearly all new ones.

Ids are known by a digest under a key of this device and the sender's name, so that they tell a reader
nothing, and no sender can claim another one's.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, deque
from hashlib import blake2b
from itertools import chain
from sys import byteorder
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

WINDOW_SECONDS = 7 * 86_400  # of retention time, from arrival
MOST_IDS = 400_000  # 3.2 MB; beyond it the oldest are known no more
_RUN_IDS = 60_000  # so that eight marks are enough for MOST_IDS
_RUN_SECONDS = 86_400
_RECENT = 4096
_SLOTS = 2**20  # 1 MB, made at the first id
_SLOT_BITS = _SLOTS - 1
_MARKS = [1 << bit for bit in range(8)]


class Digester:
    """Makes the digests of one device."""

    def __init__(self, secret: bytes) -> None:
        self._key = blake2b(b"event ids", key=secret[:64], digest_size=32).digest()
        self._begun: dict[str, blake2b] = {}  # by sender, of whom a policy names a hundred at the most

    def __call__(self, sender: str, event_id: str) -> bytes:
        """Eight bytes for one sender's event id."""
        begun = self._begun.get(sender)
        if begun is None:
            begun = self._begun[sender] = blake2b(f"{len(sender)} {sender}".encode(), key=self._key, digest_size=8)
        hasher = begun.copy()
        hasher.update(event_id.encode())
        return hasher.digest()


class _Run(NamedTuple):
    """Digests, sorted; `latest` is the last arrival among them, `mark` their bit in the slots."""

    latest: int
    mark: int
    numbers: array[int]


class KnownIds:
    """A set of digests that forgets by age and by number.

    Sorted runs of 60,000 keep the memory small; a byte for each of a million slots says in which runs to look, and
    for nearly all new ids that there is no need to.
    """

    def __init__(self) -> None:
        self._slots = bytearray(_SLOTS)  # of a number's last bits: the marks of the runs that hold such a one
        self._runs: deque[_Run] = deque()  # oldest first
        self._small: list[array[int]] = []  # sorted; a run when they are enough
        self._recent: set[int] = set()
        self._mark = 1  # of the run that is being gathered
        self._gathered = self._run_began = self._latest = 0
        self._size = 0
        self.dropped = 0  # known no more, for want of room

    def __contains__(self, digest: bytes) -> bool:
        number = int.from_bytes(digest, byteorder)
        marks = self._slots[number & _SLOT_BITS]
        if not marks:
            return False
        is_gathered = marks & self._mark and (
            number in self._recent or any(_holds(small, number) for small in self._small)
        )
        return bool(is_gathered) or any(_holds(run.numbers, number) for run in self._runs if run.mark & marks)

    def __len__(self) -> int:
        return self._size

    def add(self, digests: Iterable[bytes], arrived: int) -> None:
        """Know these from now on; `arrived` in seconds of retention time, never less than before."""
        numbers = array("Q", b"".join(digests))
        if not numbers:
            return
        if self._gathered and arrived - self._run_began >= _RUN_SECONDS:
            self._end_run()  # what comes after a silence does not keep what came before it
        if not self._gathered:
            self._run_began = arrived
        slots, mark = self._slots, self._mark
        for number in numbers:
            slots[number & _SLOT_BITS] |= mark
        self._recent.update(numbers)
        self._size += len(numbers)
        self._gathered += len(numbers)
        self._latest = max(self._latest, arrived)
        is_old = self._latest - self._run_began >= _RUN_SECONDS
        if len(self._recent) >= _RECENT or is_old:
            self._small.append(array("Q", sorted(self._recent)))
            self._recent.clear()
        if self._gathered >= _RUN_IDS or is_old:
            self._end_run()

    def forget(self, before: int) -> None:
        """Forget what arrived before that second, give or take a day."""
        if self._gathered and self._latest < before:  # nothing came since that would have ended the run
            self._end_run()
        while self._runs and self._runs[0].latest < before:
            self._drop()

    def _end_run(self) -> None:
        whole = array("Q", sorted(chain.from_iterable([*self._small, self._recent])))
        self._runs.append(_Run(self._latest, self._mark, whole))
        self._small, self._gathered = [], 0
        self._recent.clear()
        while self._size > MOST_IDS and self._runs:
            self.dropped += self._drop()
        used = Counter(run.mark for run in self._runs)
        self._mark = min(_MARKS, key=lambda mark: used[mark])

    def _drop(self) -> int:
        """Know the oldest run no more."""
        gone = self._runs.popleft()
        self._size -= len(gone.numbers)
        if gone.mark != self._mark and all(run.mark != gone.mark for run in self._runs):
            self._slots = self._slots.translate(bytes(slot & ~gone.mark for slot in range(256)))
        return len(gone.numbers)


def split_digests(digests: bytes) -> list[bytes]:
    """The digests of a block's column, one by one."""
    return [digests[at : at + 8] for at in range(0, len(digests), 8)]


def _holds(run: array[int], number: int) -> bool:
    at = bisect_left(run, number)
    return at < len(run) and run[at] == number
