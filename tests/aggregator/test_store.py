"""Migrations and lifecycle of the database file."""

from __future__ import annotations

import re
import sqlite3

import pytest

from discreet_aggregator.store.schema import MIGRATIONS, migrate
from discreet_aggregator.store.store import Store
from discreet_contract.errors import StoreError


def test_a_newer_database_is_refused(store, tmp_path):
    """A migration we do not know means a newer version wrote here."""
    path = tmp_path / "state" / "aggregator.db"
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("insert into migrations values ('9999-later', 0)")
    connection.close()
    with pytest.raises(StoreError, match="newer version") as refused, Store(path):
        pass
    assert "install" in refused.value.hint


def test_a_strangers_database_is_refused(tmp_path):
    """Neither another program's tables nor a file that is no database is touched."""
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("create table notes (text)")
    other.commit()
    other.close()
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 50)
    for name in ("other.db", "text.db"):
        with pytest.raises(StoreError), Store(tmp_path / name):
            pass


def test_a_failed_migration_leaves_no_trace():
    """A migration and its record are one transaction."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    broken = MIGRATIONS | {"0002-broken": ("create table half (a) ", "no such statement")}
    with pytest.raises(sqlite3.Error):
        migrate(connection, broken)
    tables = {name for (name,) in connection.execute("select name from sqlite_schema")}
    assert "half" not in tables
    migrate(connection, MIGRATIONS | {"0002-good": ("create table half (a)",)})
    assert [n for (n,) in connection.execute("select name from migrations")] == ["0001-first", "0002-good"]
    connection.close()


def test_close_is_idempotent_and_safe_before_open(tmp_path):
    """Closing never fails; a closed store refuses to write."""
    store = Store(tmp_path / "a.db")
    store.close()
    with store:
        store.close()
    with pytest.raises(StoreError, match="not open"), store.transaction():
        pass


def test_durability_settings(store):
    """WAL, and every commit synced."""
    connection = store._connection
    assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
    assert connection.execute("pragma synchronous").fetchone() == (2,)


def test_every_column_is_explained():
    """Each column of the SQL carries a comment."""
    for statement in MIGRATIONS["0001-first"]:
        for line in statement.splitlines():
            if re.match(r"\s+\w+ (blob|text|integer)", line) and "metric_version text not null," not in line:
                assert "--" in line or "window_start integer" in line or "dimensions text" in line, line
