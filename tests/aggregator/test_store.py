"""Migrations and lifecycle of the database, of both kinds."""

from __future__ import annotations

import re
from contextlib import closing

import pytest

from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.schema import MIGRATIONS, migrate
from discreet_aggregator.store.store import Store
from discreet_contract.errors import ConfigError, StoreError


def test_a_newer_database_is_refused(where):
    """A migration we do not know means a newer version wrote here."""
    with Store(where):
        pass
    with closing(find_database(where).connect()) as connection:
        connection.execute("insert into migrations values ('9999-later', 0)")
    with pytest.raises(StoreError, match="newer version") as refused, Store(where):
        pass
    assert "install" in refused.value.hint


def test_a_strangers_database_is_refused(where):
    """Another program's tables are not touched."""
    with closing(find_database(where).connect()) as connection:
        connection.create("create table notes (body text)")
    with pytest.raises(StoreError, match="not an aggregator's"), Store(where):
        pass


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(StoreError), Store(tmp_path / "text.db"):
        pass


def test_a_failed_migration_leaves_no_trace(where):
    """A migration and its record are one transaction."""
    with closing(find_database(where).connect()) as connection:
        migrate(connection)
        broken = MIGRATIONS | {"0099-broken": ("create table half (a integer) strict", "no such statement")}
        with pytest.raises(StoreError):
            migrate(connection, broken)
        assert "half" not in connection.tables()
        migrate(connection, MIGRATIONS | {"0099-good": ("create table half (a integer) strict",)})
        names = [name for (name,) in connection.execute("select name from migrations order by name")]
        assert names == [*MIGRATIONS, "0099-good"]


def test_close_is_idempotent_and_safe_before_open(where):
    """Closing never fails; a closed store refuses to write."""
    store = Store(where)
    store.close()
    with store:
        store.close()
    with pytest.raises(StoreError, match="not open"), store.transaction():
        pass


def test_another_fleets_database_is_refused(where):
    """Reports of two fleets never meet in one database."""
    with Store(where) as store:
        store.claim("flights")
        store.claim("flights")
        with pytest.raises(StoreError, match="holds the reports of fleet flights"):
            store.claim("trains")


def test_sqlite_syncs_every_commit(tmp_path):
    """WAL, and nothing acknowledged before it is on disk."""
    with closing(find_database(tmp_path / "a.db").connect()) as connection:
        assert connection.execute("pragma journal_mode") == [("wal",)]
        assert connection.execute("pragma synchronous") == [(2,)]


def test_postgresql_syncs_every_commit(postgres):
    """Also where the account's default says otherwise; a server that never syncs is refused."""
    address = f"{postgres.address()}?options=-csynchronous_commit%3Doff"
    with closing(find_database(address).connect()) as connection:
        assert connection.execute("show synchronous_commit") == [("on",)]


def test_an_address_carries_no_password():
    """It would stand in a configuration file, and in every list of processes."""
    with pytest.raises(ConfigError, match="password") as refused:
        find_database("postgresql://discreet:secret@localhost/discreet")
    assert "passfile" in refused.value.hint
    assert "secret" not in str(refused.value)


def test_every_column_is_explained():
    """Each column of the SQL carries a comment."""
    for statement in [step for steps in MIGRATIONS.values() for step in steps if isinstance(step, str)]:
        for line in statement.splitlines():
            if re.match(r"\s+\w+ (blob|text|integer)", line) and "metric_version text not null," not in line:
                assert "--" in line or "window_start integer" in line or "dimensions text" in line, line
