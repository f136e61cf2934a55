"""`discreet agent ledger --verify`: a device's ledger or a copy of it, only read, and judged from nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_agent.policies import KEPT
from discreet_agent.store.head import HEAD, read_head
from discreet_agent.store.ledger import Ledger
from discreet_contract.errors import ConfigError, StoreError
from discreet_contract.files import read_or_explain
from discreet_contract.ledger_audit import Finding, Flaw, read_policies, verify_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from discreet_contract.accounting import LedgerEntry, LedgerHead


@dataclass(frozen=True, slots=True)
class Checked:
    """The rows, the policies they were held against, the head (None: none was kept), and what was wrong."""

    entries: list[LedgerEntry]
    policies: int
    head: LedgerHead | None
    findings: list[Finding]


def check_ledger(database: Path, policies: Sequence[Path], *, is_copy: bool) -> Checked:
    """Judge the ledger in a database file, against these policies and, on a device, the one kept beside it.

    A copy may have lost its head: then rows cut off at its end do not show. A device may not.
    """
    kept = database.parent / KEPT
    given = [*policies, kept] if kept.exists() and not (is_copy and policies) else policies
    known = read_policies(read_or_explain(path, what="a policy", hint="name a file that exists") for path in given)
    findings = []
    try:
        head = read_head(database.parent / HEAD)  # before the rows: a running agent writes it after them
    except StoreError as exc:
        head = None
        findings.append(Finding(0, Flaw.HEAD, str(exc)))
    if head is None and not findings and not is_copy:
        findings.append(Finding(0, Flaw.HEAD, f"{database.parent / HEAD} is gone"))
    with closing(open_read_only(database)) as connection:
        entries = list(Ledger(connection).entries())
        findings += _check_digests(connection, entries)
    findings += verify_ledger(entries, known, head)
    return Checked(entries, len(known), head, findings)


def open_read_only(database: Path) -> sqlite3.Connection:
    """A database beside a running agent, or a copy, also one in a folder that may not be written to."""
    if not database.exists():
        raise ConfigError(f"no database at {database}", hint="run the agent once, or name its configuration or a copy")
    has_log = database.with_name(f"{database.name}-wal").exists()
    uri = f"{database.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri if has_log else f"{uri}&immutable=1", uri=True)
    try:
        connection.execute("SELECT 1 FROM ledger LIMIT 1")
    except sqlite3.Error as exc:
        connection.close()
        raise StoreError(f"{database} is no device's database", hint="name agent.db or a copy of it") from exc
    return connection


def _check_digests(connection: sqlite3.Connection, entries: Sequence[LedgerEntry]) -> list[Finding]:
    """What stands beside each row is its own digest; for the last row nothing else says so."""
    stored = [digest for [digest] in connection.execute("SELECT digest FROM ledger ORDER BY sequence")]
    return [
        Finding(entry.sequence, Flaw.CHAIN, "its digest is another row's: it was changed")
        for entry, digest in zip(entries, stored, strict=False)
        if entry.digest() != digest
    ]
