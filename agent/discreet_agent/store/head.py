"""The ledger's last row, kept in a small file outside the database: an older database put back is noticed.

Order: commit, then the head, and only then may a row of that commit leave the device. A
database ahead of its head was killed in between and rolls the head forward. Anything else
that does not fit stops releases until somebody looks; receiving goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from discreet_contract.accounting import EMPTY_LEDGER, LedgerHead
from discreet_contract.errors import CorruptStoreError, RetryableError, StoreError
from discreet_contract.files import may_pass, write_durably

if TYPE_CHECKING:
    from pathlib import Path

    from discreet_agent.store.store import Store

HEAD = "ledger.head"


class Halt(StrEnum):
    """Why windows wait or nothing is charged and sent at all. A closed list; `agent status` says which."""

    HEAD_MISSING = "HEAD_MISSING"
    HEAD_UNREADABLE = "HEAD_UNREADABLE"
    IDENTITY_CHANGED = "IDENTITY_CHANGED"
    LEDGER_MISSING = "LEDGER_MISSING"
    LEDGER_OLDER = "LEDGER_OLDER"
    LEDGER_FORKED = "LEDGER_FORKED"
    LEDGER_BROKEN = "LEDGER_BROKEN"
    CLOCK_UNPROVEN = "CLOCK_UNPROVEN"
    CLOCK_JUMPED = "CLOCK_JUMPED"
    CLOCK_BEHIND = "CLOCK_BEHIND"

    @property
    def is_final(self) -> bool:
        """Whether nothing at all is charged and sent; else only windows wait that the clock alone says are over."""
        return not self.value.startswith("CLOCK_")

    @property
    def advice(self) -> str:
        """What to do about it, for people."""
        match self:
            case Halt.CLOCK_UNPROVEN:
                return "set the clock if it is wrong; else have the operator sign the log's head anew and publish it"
            case Halt.CLOCK_JUMPED:
                return "nothing, if it is right now: it is believed at the next boot or signed head; else set it"
            case Halt.CLOCK_BEHIND:
                return "set the clock; nothing is lost meanwhile"
        return "put the newest database and ledger.head back together, or delete the whole state folder: a new device"


@dataclass(frozen=True, slots=True)
class Halted:
    """A reason, and what was found."""

    reason: Halt
    found: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.found}; {self.reason.advice}"


def read_head(path: Path) -> LedgerHead | None:
    """The kept head; None where there is no such file. Raises StoreError where it is none, else RetryableError."""
    try:
        return LedgerHead.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        if isinstance(exc, OSError) and may_pass(exc):
            raise RetryableError(f"{path}: cannot be read: {exc.strerror}", hint="look at the disk") from exc
        raise StoreError(f"{path} cannot be read as a ledger's head", hint=Halt.HEAD_UNREADABLE.advice) from exc


def write_head(path: Path, head: LedgerHead) -> None:
    """Make a head durable. Raises RetryableError."""
    try:
        write_durably(path, head.encode())
    except OSError as exc:
        raise RetryableError(
            f"{path}: cannot be written: {exc.strerror}", hint="free the disk; the agent tries again"
        ) from exc


class HeadKeeper:
    """Keeps the head behind one store's ledger. `halted` says why releases have stopped for good, or None."""

    def __init__(self, path: Path, store: Store, device: str) -> None:
        self._path = path
        self._device = device
        self._store = store
        self._head = EMPTY_LEDGER
        self.halted: Halted | None = None

    def open(self) -> None:
        """Read the kept head and judge the ledger by it; nothing is written.

        Raises RetryableError where something cannot be read now, CorruptStoreError where it never will be.
        """
        try:
            head = read_head(self._path)
        except StoreError as exc:
            self.halted = Halted(Halt.HEAD_UNREADABLE, str(exc))
            return
        if head is None:
            self.halted = Halted(Halt.HEAD_MISSING, f"{self._path} is gone")
            return
        if head.device not in {"", self._device}:
            found = "the secret is another device's, or was put back from one: its windows may have been reported"
            self.halted = Halted(Halt.IDENTITY_CHANGED, found)
            return
        self._head = head
        try:
            self._store.ledger.verify()
        except CorruptStoreError:  # the whole database is set aside
            raise
        except StoreError as exc:
            self.halted = Halted(Halt.LEDGER_BROKEN, str(exc))
            return
        self.halted = self._judge()

    def follow(self) -> bool:
        """Bring the head up to the ledger's last row. False: nothing may be drawn and nothing may leave.

        Raises RetryableError where the head cannot be written now; then nothing may leave either.
        """
        if self.halted is not None:
            return False
        last = self._store.ledger.head()
        if last == self._head:
            return True
        self.halted = self._judge()
        if self.halted is not None:
            return False
        write_head(self._path, replace(last, device=self._device))
        self._head = last
        return True

    def _judge(self) -> Halted | None:
        kept, last = self._head, self._store.ledger.head()
        if last.sequence == 0 and kept.sequence > 0:
            return Halted(Halt.LEDGER_MISSING, f"the ledger is empty, and {kept.sequence} charges were made")
        if last.sequence < kept.sequence:
            return Halted(
                Halt.LEDGER_OLDER, f"the ledger ends at charge {last.sequence}, and {kept.sequence} were made"
            )
        if not self._store.ledger.holds_head(kept):
            return Halted(Halt.LEDGER_FORKED, f"charge {kept.sequence} is another one than the device made")
        return None
