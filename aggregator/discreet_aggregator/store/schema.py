"""Tables of the aggregator's database, and the named steps that lead to them.

Each migration is applied in one transaction together with its own record. A database with a
record we do not know was written by a newer version and is refused, not guessed at.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from discreet_aggregator.store.into_blocks import into_blocks
from discreet_contract.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from discreet_aggregator.store.database import Connection

    Step = str | Callable[[Connection], None]

_MIGRATIONS_TABLE = """
create table if not exists migrations (
    name text primary key,          -- one of MIGRATIONS below; never renamed
    applied_at integer not null     -- seconds since the UTC epoch, by this machine's clock
) strict
"""

# Name → statements in SQLite's types, or a function. Applied ones never change: add a new name.
MIGRATIONS: dict[str, tuple[Step, ...]] = {
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
    "0002-blocks": (
        """
        create table facts (
            name text primary key,          -- 'salt': of the filters, hex; 'fleet': whose reports these are
            value text not null             -- as that name wants it
        ) strict, without rowid
        """,
        """
        create table cells (
            id integer primary key,         -- what other tables call the cell
            metric text not null,           -- name in the policy
            metric_version text not null,   -- hash of the metric's definition; sums of two versions are never added
            window_start integer not null,  -- seconds
            dimensions text not null,       -- JSON array of [name, value], sorted; [] for none
            mechanism text not null,        -- mechanism id
            unique (metric, metric_version, window_start, dimensions)
        ) strict
        """,
        """
        create table sums (
            cell integer not null primary key references cells (id),  -- whose
            folded_until integer not null,  -- the last row of archive that they hold; later ones are added on reading
            sums blob not null              -- little-endian int64: number of reports, then the mechanism's sums
        ) strict
        """,
        """
        create table sources (
            cell integer not null references cells (id),  -- whose
            policy_hash blob not null,      -- 16 bytes: a policy that some of its reports were made under
            reports integer not null,       -- how many
            primary key (cell, policy_hash)
        ) strict, without rowid
        """,
        """
        create table seen_runs (
            id integer primary key autoincrement,  -- order of commit; never given twice
            ids integer not null,           -- how many report ids it holds
            is_merged integer not null,     -- 1 if it was made of others, 0 for one batch's
            keep_until integer not null,    -- seconds; after it every id in it would be refused as too late
            filter blob not null            -- of its ids, little-endian 64-bit words; empty for a small run
        ) strict
        """,
        """
        create table seen_parts (
            id integer primary key,         -- order of writing: ascending ids within a run
            run integer not null,           -- seen_runs.id
            first blob not null,            -- least report id of the part
            records blob not null           -- ascending; 17 bytes each: report id, first verdict (wire.Verdict)
        ) strict
        """,
        "create index seen_parts_by_run on seen_parts (run)",
        "alter table watermark add column forgotten integer not null default 0",
        "alter table archive rename to archive_1",
        """
        create table archive (
            id integer primary key,         -- order of admission
            received_at_ms integer not null,-- watermark at admission, milliseconds
            cell integer not null references cells (id),  -- what the reports are about
            policy_hash blob not null,      -- 16 bytes: the policy the devices obeyed
            reports integer not null,       -- how many are packed here: those of one batch, ascending by report id
            payloads blob not null,         -- randomised by the devices; all of one length
            report_ids blob not null        -- 16 bytes each
        ) strict
        """,
        "create index archive_by_cell on archive (cell, id)",
        into_blocks,
        "drop table archive_1",
        "drop table accumulators",
        "drop table provenance",
        "drop table verdicts",
    ),
    "0003-interventions": (
        """
        create table interventions (
            id integer primary key,         -- order
            at_ms integer not null,         -- when, by the machine's clock, milliseconds
            what text not null,             -- what an operator changed by hand, and from what to what
            reason text not null            -- in the operator's words
        ) strict
        """,
    ),
}


def migrate(connection: Connection, migrations: dict[str, tuple[Step, ...]] = MIGRATIONS) -> None:
    """Bring a database to this version. Raises StoreError for a stranger's or a newer one."""
    connection.begin()
    try:
        for name in _pending(connection, migrations):
            for step in migrations[name]:
                if isinstance(step, str):
                    connection.create(step)
                else:
                    step(connection)
            connection.execute("insert into migrations values (?, ?)", (name, int(time.time())))
        connection.commit()
    finally:
        connection.rollback()


def _pending(connection: Connection, migrations: dict[str, tuple[Step, ...]]) -> list[str]:
    tables = connection.tables()
    if tables and "migrations" not in tables:
        raise StoreError(
            "the database is not an aggregator's", hint="set `state_dir`, or `database`, to one that nobody else uses"
        )
    connection.create(_MIGRATIONS_TABLE)
    applied = {name for (name,) in connection.execute("select name from migrations")}
    newer = sorted(applied - migrations.keys())
    if newer:
        raise StoreError(
            f"the database was written by a newer version (it knows {newer[-1]})",
            hint="install that version of discreet-aggregator again, or restore the backup made before it",
        )
    return [name for name in migrations if name not in applied]
