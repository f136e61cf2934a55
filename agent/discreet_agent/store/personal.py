"""What personalization remembers: stays in segments, pinned flags, when flags changed, and a trail of it all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from discreet_agent.personal.values import SegmentState
from discreet_contract.errors import CorruptStoreError

if TYPE_CHECKING:
    import sqlite3

MOST_MOVES = 10_000


class Pin(NamedTuple):
    """A flag that gives one variant, whatever its targeting says."""

    flag: str
    variant: str
    value: Any
    by: str  # `owner`, or the name of the guard that reverted it
    reason: str
    at_ms: int
    definition: str  # hash of the flag's definition; a guard's pin ends with it


class Mark(NamedTuple):
    """What a guarded flag gave an app that says nothing of itself, and what it gave before that."""

    flag: str
    definition: str  # hash
    variant: str | None
    value: Any
    former_variant: str | None
    former_value: Any
    changed_ms: int


class Move(NamedTuple):
    """One line of the trail."""

    at_ms: int
    what: str  # ENTERED, LEFT, PINNED, UNPINNED, REVERTED
    subject: str  # segment or flag
    reason: str
    policy_version: int


class Personal:
    """Rows of `segments`, `pins`, `flag_marks` and `moves`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    # --- segments --------------------------------------------------------------------------

    def segments(self) -> dict[str, tuple[str, SegmentState]]:
        """Segment → hash of the definition it was judged by, and how that went."""
        rows = self._connection.execute("SELECT name, definition, is_inside, since_ms FROM segments")
        return {name: (of, SegmentState(name, bool(inside), since)) for name, of, inside, since in rows}

    def keep_segment(self, definition: str, state: SegmentState) -> None:
        """Replace a segment's state."""
        self._connection.execute(
            "INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?)",
            (state.name, definition, state.is_inside, state.since_ms),
        )

    def forget_segment(self, name: str) -> None:
        """It left the policy."""
        self._connection.execute("DELETE FROM segments WHERE name = ?", (name,))

    # --- pins and marks --------------------------------------------------------------------

    def pins(self) -> dict[str, Pin]:
        """Every pinned flag."""
        rows = self._connection.execute("SELECT flag, variant, value, set_by, reason, at_ms, definition FROM pins")
        return {row[0]: Pin(row[0], row[1], _decoded(row[2]), *row[3:]) for row in rows.fetchall()}

    def pin(self, pin: Pin) -> None:
        """Pin a flag, in place of any earlier pin."""
        value = msgspec.msgpack.encode(pin.value)
        self._connection.execute(
            "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, ?, ?)", (*pin[:2], value, *pin[3:])
        )

    def unpin(self, flag: str) -> None:
        """Let a flag go."""
        self._connection.execute("DELETE FROM pins WHERE flag = ?", (flag,))

    def marks(self) -> dict[str, Mark]:
        """Every guarded flag's last change."""
        rows = self._connection.execute(
            "SELECT flag, definition, variant, value, former_variant, former_value, changed_ms FROM flag_marks"
        ).fetchall()
        return {
            flag: Mark(flag, definition, variant, _decoded(value), former, _decoded(former_value), changed_ms)
            for flag, definition, variant, value, former, former_value, changed_ms in rows
        }

    def mark(self, mark: Mark) -> None:
        """Replace a flag's mark."""
        encode = msgspec.msgpack.encode
        values = (*mark[:3], encode(mark.value), mark.former_variant, encode(mark.former_value), mark.changed_ms)
        self._connection.execute("INSERT OR REPLACE INTO flag_marks VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    # --- the trail -------------------------------------------------------------------------

    def note(self, move: Move) -> None:
        """Add a line; the oldest leave at a bound."""
        self._connection.execute(
            "INSERT INTO moves (at_ms, what, subject, reason, policy_version) VALUES (?, ?, ?, ?, ?)", move
        )
        self._connection.execute(
            "DELETE FROM moves WHERE sequence <= (SELECT max(sequence) FROM moves) - ?", (MOST_MOVES,)
        )

    def moves(self, most: int) -> list[Move]:
        """The trail, newest first."""
        rows = self._connection.execute(
            "SELECT at_ms, what, subject, reason, policy_version FROM moves ORDER BY sequence DESC LIMIT ?", (most,)
        )
        return [Move(*row) for row in rows]

    def forget(self, before_ms: int) -> int:
        """Forget lines of the trail that are older; returns how many went."""
        return self._connection.execute("DELETE FROM moves WHERE at_ms < ?", (before_ms,)).rowcount

    def purge(self) -> None:
        """Forget everything that events had a part in; what the owner pinned stays pinned."""
        for table in ("segments", "flag_marks", "moves"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constants
        self._connection.execute("DELETE FROM pins WHERE set_by <> 'owner'")


def _decoded(value: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise CorruptStoreError("a flag's value cannot be read", hint="look at the disk") from exc
