"""Tables of the aggregator's database, and the named steps that lead to them.

Each migration is applied in one transaction together with its own record. A database with a
record we do not know was written by a newer version and is refused, not guessed at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from discreet_contract.errors import StoreError

if TYPE_CHECKING:
    import sqlite3

_MIGRATIONS_TABLE = """
create table if not exists migrations (
    name text primary key,          -- one of MIGRATIONS below; never renamed
    applied_at integer not null     -- seconds since the UTC epoch, by this machine's clock
) strict
"""

# Name → statements. Applied ones never change: add a new name.
MIGRATIONS: dict[str, tuple[str, ...]] = {
    "0001-first": (
        """
        create table verdicts (
            report_id blob primary key,     -- 16 bytes, a keyed hash: says nothing of the device
            verdict integer not null,       -- wire.Verdict; the first one, repeated for every copy
            keep_until integer not null     -- seconds; after it the same bytes would be refused as too late
        ) strict, without rowid
        """,
        "create index verdicts_by_keep_until on verdicts (keep_until)",
        """
        create table archive (
            id integer primary key,         -- order of admission
            received_at_ms integer not null,-- watermark at admission, milliseconds
            policy_hash blob not null,      -- 16 bytes: the policy the device obeyed
            metric text not null,           -- name in that policy
            metric_version text not null,   -- hash of the metric's definition
            window_start integer not null,  -- seconds
            mechanism text not null,        -- mechanism id
            payload blob not null,          -- randomised by the device
            dimensions text not null,       -- JSON array of [name, value], sorted; [] for none
            report_id blob not null         -- 16 bytes
        ) strict
        """,
        """
        create table accumulators (
            metric text not null,           -- name
            metric_version text not null,   -- sums of two versions are never added
            window_start integer not null,  -- seconds
            dimensions text not null,       -- as in archive
            sums blob not null,             -- little-endian int64: number of reports, then the mechanism's sums
            primary key (metric, metric_version, window_start, dimensions)
        ) strict, without rowid
        """,
        """
        create table provenance (
            metric text not null,           -- the accumulator's key …
            metric_version text not null,
            window_start integer not null,
            dimensions text not null,
            policy_hash blob not null,      -- … and a policy that some of its reports were made under
            reports integer not null,       -- how many
            primary key (metric, metric_version, window_start, dimensions, policy_hash)
        ) strict, without rowid
        """,
        """
        create table refusals (
            day text not null,              -- YYYY-MM-DD, UTC
            metric text not null,           -- '' where no known metric is named
            reason text not null,           -- refusal.RefusalReason
            count integer not null,         -- envelopes refused
            primary key (day, metric, reason)
        ) strict, without rowid
        """,
        """
        create table quarantine (
            id integer primary key,         -- order of arrival; only the newest rows are kept
            received_at_ms integer not null,-- watermark at arrival, milliseconds
            reason text not null,           -- refusal.RefusalReason
            envelope blob not null          -- as received, cut to the largest envelope
        ) strict
        """,
        """
        create table watermark (
            id integer primary key check (id = 1),  -- one row
            now_ms integer not null                 -- latest time ever seen, milliseconds; only rises
        ) strict
        """,
        "insert into watermark (id, now_ms) values (1, 0)",
    ),
}


def migrate(connection: sqlite3.Connection, migrations: dict[str, tuple[str, ...]] = MIGRATIONS) -> None:
    """Bring a database (autocommit mode) to this version. Raises StoreError for a stranger's or a newer one."""
    connection.execute("begin immediate")
    try:
        for name in _pending(connection, migrations):
            for statement in migrations[name]:
                connection.execute(statement)
            connection.execute("insert into migrations values (?, cast(strftime('%s', 'now') as integer))", (name,))
        connection.execute("commit")
    finally:
        if connection.in_transaction:
            connection.execute("rollback")


def _pending(connection: sqlite3.Connection, migrations: dict[str, tuple[str, ...]]) -> list[str]:
    tables = {name for (name,) in connection.execute("select name from sqlite_schema where type = 'table'")}
    if tables and "migrations" not in tables:
        raise StoreError("the database is not an aggregator's", hint="set `state_dir` to a folder of its own")
    connection.execute(_MIGRATIONS_TABLE)
    applied = {name for (name,) in connection.execute("select name from migrations")}
    newer = sorted(applied - migrations.keys())
    if newer:
        raise StoreError(
            f"the database was written by a newer version (it knows {newer[-1]})",
            hint="install that version of discreet-aggregator again, or restore the backup made before it",
        )
    return [name for name in migrations if name not in applied]
