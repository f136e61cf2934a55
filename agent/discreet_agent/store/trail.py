"""Which policy was in force when, why it changed, and who signed it: append-only."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


@dataclass(frozen=True, slots=True)
class InForce:
    """One change of the policy in force."""

    since_ms: int  # this device's wall clock
    version: int
    policy_hash: bytes  # 32 bytes
    signed_by: str  # root public key, hex
    author: str
    reason: str  # the release note's
    source: str  # file, broker, or kept: found at start without a record of its coming
    head_size: int
    head_root: str  # hex


_COLUMNS = ", ".join(field.name for field in fields(InForce))


class Trail:
    """Rows of `policies`; writes belong inside `Store.transaction`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def append(self, entry: InForce) -> None:
        """Note a change."""
        self._connection.execute(
            f"INSERT INTO policies ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
            astuple(entry),
        )

    def entries(self) -> list[InForce]:
        """Every change, oldest first."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM policies ORDER BY sequence")  # noqa: S608 - our own names
        return [InForce(*row) for row in rows]

    def last(self) -> InForce | None:
        """The latest change."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM policies ORDER BY sequence DESC LIMIT 1"  # noqa: S608 - our own names
        ).fetchone()
        return None if row is None else InForce(*row)
