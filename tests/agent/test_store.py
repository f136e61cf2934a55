"""The device's database: opening, migrating, failing."""

import sqlite3

import pytest

from device_bench import HOUR, START, opening
from discreet_agent.device import open_device
from discreet_agent.store.schema import MIGRATIONS
from discreet_agent.store.store import Store
from discreet_contract.errors import ConfigError, RetryableError, StoreError


def test_every_statement_of_every_migration_is_applied(tmp_path):
    """None is swallowed by the splitting."""
    wanted = sum(script.count("CREATE ") - script.count("DROP ") for _, script in MIGRATIONS)
    with Store(tmp_path / "a.db") as store:
        made = store.connection.execute("SELECT count(*) FROM sqlite_schema WHERE sql IS NOT NULL").fetchone()[0]
        pragmas = {
            name: store.connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
        }

    assert made == wanted
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    """Downgrades do not guess."""
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        Store(path).__enter__()


def test_what_is_not_a_database_is_said_to_be_none(tmp_path):
    """With the file's name and what to do."""
    (tmp_path / "a.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match=r"a\.db") as error:
        Store(tmp_path / "a.db").__enter__()
    assert error.value.hint


def test_a_locked_database_is_trouble_that_may_pass(tmp_path):
    """Nothing is lost: the caller tries again."""
    with Store(tmp_path / "a.db") as store:
        store.connection.execute("PRAGMA busy_timeout = 50")
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryableError), store.transaction():
            pass
        other.execute("ROLLBACK")
        other.close()
        with store.transaction():
            store.count("x")


def test_a_failed_transaction_leaves_nothing(tmp_path):
    """Whatever raised."""
    with Store(tmp_path / "a.db") as store:
        with pytest.raises(ValueError, match="stop"), store.transaction():
            store.count("x")
            raise ValueError("stop")
        assert store.counters() == {}


def test_close_may_be_called_twice(tmp_path):
    """Idempotent, also before anything was opened."""
    store = Store(tmp_path / "a.db")
    store.close()
    with store:
        pass
    store.close()


def test_one_process_a_device(bench):
    """The second is told which folder, and what to do."""
    bench.open()
    with pytest.raises(ConfigError, match="another agent"), open_device(bench.folder, bench.policy, bench.clock):
        pass


def test_a_changed_ledger_row_is_found(bench, device):
    """The chain covers every column."""
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()
    assert device.store.ledger.verify() == 3
    device.store.connection.execute("UPDATE ledger SET nano = nano - 1 WHERE sequence = 2")
    with pytest.raises(StoreError, match="broken at row 2"):
        device.store.ledger.verify()


def test_a_removed_ledger_row_is_found(bench, device):
    """Unless it was the last: that is what the head outside the database is for."""
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()
    device.store.connection.execute("DELETE FROM ledger WHERE sequence = 1")
    with pytest.raises(StoreError, match="broken at row 2"):
        device.store.ledger.verify()


def test_files_are_for_their_owner_only(bench):
    """The secret above all."""
    bench.open()
    assert bench.folder.stat().st_mode & 0o077 == 0
    assert (bench.folder / "identity").stat().st_mode & 0o077 == 0


def test_a_broken_identity_is_not_replaced(bench):
    """A new one would let the device report a window twice."""
    bench.open()
    bench.close()
    (bench.folder / "identity").write_text("zz")
    with pytest.raises(StoreError, match="identity"):
        bench.open()


def test_the_database_is_for_its_owner_only(bench):
    """And so are the files that SQLite makes beside it."""
    bench.open()
    modes = {path.name: path.stat().st_mode & 0o777 for path in bench.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_somebody_elses_database_is_left_alone(tmp_path):
    """Not adopted, not changed."""
    path = tmp_path / "agent.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StoreError, match="somebody else's"):
        Store(path).__enter__()


def test_a_store_that_could_not_reopen_at_once_does_so_later(tmp_path):
    """As after a commit that failed on a full disk."""
    with Store(tmp_path / "a.db") as store:
        store.close()
        with store.transaction():
            store.count("x")
        assert store.counters() == {"x": {"": 1}}
    with pytest.raises(StoreError, match="not open"):
        store.counters()


def test_a_commit_that_was_kept_though_it_failed_is_not_repeated_by_the_resend(bench, device):
    """The sender was told to come again, and does."""
    connection = device.store.connection

    class Failing:
        """A connection whose first COMMIT works and then says that it did not."""

        has_failed = False

        def __getattr__(self, name):
            return getattr(connection, name)

        def execute(self, sql, *parameters):
            done = connection.execute(sql, *parameters)
            if sql == "COMMIT" and not self.has_failed:
                self.has_failed = True
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR
                raise error
            return done

    bench.at(START + 60)
    assert device.pipeline.record([opening(START, id="known before")]) == [None]
    device.store._connection = Failing()
    with pytest.raises(RetryableError):
        device.pipeline.record([opening(START, id="once")])
    [outcome] = device.pipeline.record([opening(START, id="once")])
    assert outcome.reason.value == "DUPLICATE"
    assert [event.id for event in device.store.raw.events()] == ["known before", "once"]
