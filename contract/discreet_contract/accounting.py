"""What a release costs a device, and which cap refuses it.

The unit is one device; a release for one (metric, window) costs its ε once. Costs are
integers in nano-ε so that sums are exact; plain addition is what caps enforce. Windows are
placed by their own start, not by when they were debited, so a device that was off loses
nothing and a wrong clock gains nothing.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

NANO = 1_000_000_000
DAY_SECONDS = 86_400
CHAIN_START = bytes(32)


def to_nano(epsilon: float) -> int:
    """ε in nano-ε, rounded up: a charge is never smaller than the loss."""
    return math.ceil(Decimal(repr(float(epsilon))) * NANO)  # its shortest decimal: 2.1 is 2_100_000_000


def cap_to_nano(epsilon: float) -> int:
    """A cap in nano-ε, rounded to the nearest: caps are written in decimal, 4.1 means 4_100_000_000."""
    return round(epsilon * NANO)


@dataclass(frozen=True, slots=True)
class Debit:
    """One charge: ε of one (metric, window)."""

    window_start: int  # seconds
    nano: int


class CapName(StrEnum):
    """The three caps of a policy's `budget`."""

    PER_28_DAYS = "per_28_days"
    PER_365_DAYS = "per_365_days"
    LIFETIME = "lifetime"


@dataclass(frozen=True, slots=True)
class Caps:
    """Caps in nano-ε."""

    per_28_days: int
    per_365_days: int
    lifetime: int

    def spans(self) -> tuple[tuple[CapName, int, int | None], ...]:
        """(name, cap in nano-ε, span in seconds or None for ever), tightest span first."""
        return (
            (CapName.PER_28_DAYS, self.per_28_days, 28 * DAY_SECONDS),
            (CapName.PER_365_DAYS, self.per_365_days, 365 * DAY_SECONDS),
            (CapName.LIFETIME, self.lifetime, None),
        )


@dataclass(frozen=True, slots=True)
class BudgetRefusal:
    """Why a release may not be charged (P9). `resets_at` is None where waiting does not help."""

    cap: CapName
    asked: int
    spent: int
    left: int
    resets_at: int | None  # start of the first window that would fit, seconds

    @property
    def advice(self) -> str:
        """What to do about it, for people."""
        if self.resets_at is None:
            return "this cap never resets: release a policy that asks for less, or ask the owner for new consent"
        return "wait for the reset, or release a policy with fewer or longer windows"


def check_caps(debits: Sequence[Debit], caps: Caps, asked: Debit) -> BudgetRefusal | None:
    """None where `asked` fits under every cap beside all earlier `debits`, else the passed cap that resets last.

    A rolling cap holds over *every* span [t, t + length), so a window backfilled between two
    charged ones is judged by the fullest span that contains it. What costs nothing passes no cap, also not
    one that was lowered below what is spent.
    """
    if asked.nano == 0:
        return None
    if sum(debit.nano for debit in debits) + asked.nano <= min(cap for _, cap, _ in caps.spans()):
        return None  # no span holds more than all of them
    passed = []
    for name, cap, length in caps.spans():
        spent = _fullest_span(debits, asked.window_start, length)
        if spent + asked.nano > cap:
            resets_at = None if length is None else _first_fit(debits, cap, asked, length)
            passed.append(BudgetRefusal(name, asked.nano, spent, max(cap - spent, 0), resets_at))
    return max(passed, key=_reset_order, default=None)


def _reset_order(refusal: BudgetRefusal) -> tuple[bool, int]:
    """Waiting helps only when the last of the passed caps resets; never is later than any time."""
    return refusal.resets_at is None, refusal.resets_at or 0


def _fullest_span(debits: Sequence[Debit], at: int, length: int | None) -> int:
    """Largest sum of debits in any span of `length` seconds that contains the window start `at`."""
    if length is None:
        return sum(debit.nano for debit in debits)
    near = sorted((d for d in debits if at - length < d.window_start < at + length), key=_start)
    starts = [debit.window_start for debit in near]
    sums = [0, *accumulate(debit.nano for debit in near)]
    fullest = 0
    # A fullest span can be slid right until its left edge is a debit at or before `at`, or `at` itself.
    for left_edge in [*(start for start in starts if start <= at), at]:
        first = bisect_left(starts, left_edge)
        after = bisect_left(starts, left_edge + length)
        fullest = max(fullest, sums[after] - sums[first])
    return fullest


def _first_fit(debits: Sequence[Debit], cap: int, asked: Debit, length: int) -> int | None:
    """Earliest later window start at which the same charge would fit; None when it alone passes the cap."""
    if asked.nano > cap:
        return None
    for start in sorted(debit.window_start + length for debit in debits):
        if start > asked.window_start and _fullest_span(debits, start, length) + asked.nano <= cap:
            return start
    return None


def _start(debit: Debit) -> int:
    return debit.window_start


class LedgerEntry(msgspec.Struct, frozen=True, array_like=True):
    """One row of a device's ledger; each row's digest covers the row before it."""

    sequence: int
    metric: str
    window_start: int  # seconds
    window_seconds: int
    nano: int
    mechanism: str
    policy_hash: bytes
    charged_at_ms: int
    previous: bytes  # digest of the row before, CHAIN_START for the first

    def digest(self) -> bytes:
        """BLAKE2b-256 over the row's MessagePack form."""
        return hashlib.blake2b(msgspec.msgpack.encode(self), digest_size=32, person=b"discreet-ledger").digest()

    def follows(self, earlier: Self | None) -> bool:
        """Whether this row is the direct successor of `earlier` (None: whether it is the first row)."""
        if earlier is None:
            return self.sequence == 1 and self.previous == CHAIN_START
        return self.sequence == earlier.sequence + 1 and self.previous == earlier.digest()


class _WrittenHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sequence: Annotated[int, msgspec.Meta(ge=0)]
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    device: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{0,32}$")] = ""


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The last row of a ledger, as it is kept outside the database. (0, CHAIN_START) before the first charge."""

    sequence: int
    digest: bytes  # of that row
    device: str = field(default="", compare=False)  # whose ledger it is: a keyed hash of the secret, hex; "" unknown

    def encode(self) -> bytes:
        """As a line of JSON, the digest in hex."""
        return msgspec.json.encode(_WrittenHead(self.sequence, self.digest.hex(), self.device)) + b"\n"

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """What `encode` wrote. Raises ValueError for anything else."""
        try:
            written = msgspec.json.decode(content, type=_WrittenHead)
        except msgspec.MsgspecError as exc:
            raise ValueError("not the head of a ledger") from exc
        return cls(written.sequence, bytes.fromhex(written.digest), written.device)


EMPTY_LEDGER = LedgerHead(0, CHAIN_START)
