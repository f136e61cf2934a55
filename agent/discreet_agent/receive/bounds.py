"""Every bound of the socket in one place, each with its reason; together less than 32 MiB.

A connection holds at most its share and one chunk of unread lines (64 × 256 KiB), four at a time a whole line
(4 × 1 MiB), a group that waits for its commit at most 2 MiB, answers that nobody reads at most 9.5 MiB.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Generic, TypeVar

MAX_CONNECTIONS = 64  # more are hung up on, so that descriptors are left for the database
CHUNK_BYTES = 65_536  # read from one connection, then it is the next one's turn
SHARE_BYTES = 196_608  # of a line that has no end yet; who needs more waits for one of these places:
BIG_LINES = 4
BIG_LINE_SECONDS = 10.0  # who has such a place for longer while others wait loses its connection
UNANSWERED_LINES = 1000  # of one connection, then reading pauses; fewer than a group would wait for its time to come
QUESTIONS = 16  # of one connection among them: they are answered in one turn, while everybody else waits
UNREAD_BYTES = 8_388_608  # of answers that senders do not read; beyond it the one that left most loses its connection


class HangUp(StrEnum):
    """Closed list of reasons for which a connection is ended by this side."""

    TOO_MANY_CONNECTIONS = "TOO_MANY_CONNECTIONS"
    LINE_UNFINISHED = "LINE_UNFINISHED"
    ANSWERS_UNREAD = "ANSWERS_UNREAD"


Place = TypeVar("Place")


class BigLines(Generic[Place]):
    """Who may hold more of an unfinished line than its share: a few at once, the rest in order of asking."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[Place, float] = {}
        self._waiting: dict[Place, None] = {}

    def ask(self, who: Place, now: float) -> bool:
        """Whether it may go on reading; if not, it is called when its turn comes."""
        if who not in self._since and len(self._since) < BIG_LINES and not self._waiting:
            self._since[who] = now
        if who not in self._since:
            self._waiting[who] = None
        return who in self._since

    def let_go(self, who: Place, now: float) -> Place | None:
        """Its line has ended, or its connection; returns whose turn it is now, if somebody waited for it."""
        self._waiting.pop(who, None)
        if self._since.pop(who, None) is None or not self._waiting:
            return None
        following = next(iter(self._waiting))
        del self._waiting[following]
        self._since[following] = now
        return following

    def overdue(self, now: float) -> list[Place]:
        """Who has had a place for too long while others wait."""
        return [who for who, since in self._since.items() if self._waiting and now - since >= self._seconds]

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)
