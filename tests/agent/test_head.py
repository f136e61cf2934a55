"""The ledger's head outside the database: an older database put back stops releases, a kill does not."""

import shutil
import sqlite3
from dataclasses import replace

import msgspec
import pytest

from device_bench import HOUR, START, opening
from discreet_agent.identity import IDENTITY
from discreet_agent.store.head import HEAD, Halt, read_head
from discreet_contract.accounting import EMPTY_LEDGER
from discreet_contract.errors import RetryableError, StoreError

DATABASE = ("agent.db", "agent.db-wal", "agent.db-shm")


def close_window(bench, device, number=1):
    """Advance over the end of a window; returns how many reports were made."""
    bench.at(START + number * HOUR + 60)
    return device.pipeline.close_windows()


def copy_database(source, target):
    """As a backup would, the device at rest."""
    target.mkdir(exist_ok=True)
    for name in DATABASE:
        (target / name).unlink(missing_ok=True)
        if (source / name).exists():
            shutil.copy(source / name, target / name)


def remove_database(bench):
    for name in DATABASE:
        (bench.folder / name).unlink(missing_ok=True)


def check_halted(bench, device, reason):
    """Nothing is charged, nothing leaves, events are still taken; also after the next start."""
    for start in range(2):
        one = bench.open() if start else device
        charged = one.store.ledger.head().sequence
        bench.at(START + 9 * HOUR + 60)
        assert one.pipeline.close_windows() == 0
        assert one.pipeline.publishable(1000) == []
        assert one.store.ledger.head().sequence == charged
        assert one.pipeline.halted.reason is reason
        assert one.pipeline.record([opening(START + 9 * HOUR)]) == [None]


def test_a_new_device_begins_with_an_empty_head(bench, device):
    """Made before the secret that says it is there."""
    assert read_head(bench.folder / HEAD) == EMPTY_LEDGER
    assert device.pipeline.halted is None


def test_the_head_follows_every_commit_that_charged(bench, device):
    """It names the last row."""
    assert close_window(bench, device) == 3
    assert read_head(bench.folder / HEAD) == device.store.ledger.head()
    assert device.store.ledger.head().sequence == 3


def test_nothing_leaves_before_the_head_is_on_disk(bench, device):
    """The disk refuses the head: the commit stands, its reports wait, nothing is drawn again."""
    blocker = bench.folder / f"{HEAD}.new"
    blocker.mkdir()
    with pytest.raises(RetryableError, match=HEAD):
        close_window(bench, device)
    with pytest.raises(RetryableError):
        device.pipeline.publishable(1000)
    with pytest.raises(RetryableError):
        close_window(bench, device, number=2)
    assert device.store.ledger.head().sequence == 3
    assert device.store.outbox.waiting() == 3

    blocker.rmdir()
    assert len(device.pipeline.publishable(1000)) == 3
    assert read_head(bench.folder / HEAD).sequence == 3
    assert device.pipeline.close_windows() == 3


def test_a_database_ahead_of_its_head_rolls_the_head_forward(bench, device):
    """Killed between commit and head."""
    old = (bench.folder / HEAD).read_bytes()
    close_window(bench, device)
    bench.close()
    (bench.folder / HEAD).write_bytes(old)
    device = bench.open()
    assert device.pipeline.halted is None
    assert len(device.pipeline.publishable(1000)) == 3
    assert read_head(bench.folder / HEAD).sequence == 3


def test_an_older_database_put_back_is_noticed(bench, device, tmp_path):
    """The windows it forgot are not drawn a second time."""
    close_window(bench, device)
    bench.close()
    copy_database(bench.folder, tmp_path / "backup")
    close_window(bench, bench.open(), number=2)
    bench.close()
    copy_database(tmp_path / "backup", bench.folder)
    check_halted(bench, bench.open(), Halt.LEDGER_OLDER)


def test_an_older_database_that_went_on_elsewhere_is_noticed(bench, device, tmp_path):
    """Its ledger is as long, but not the one that this device wrote."""
    close_window(bench, device)
    bench.close()
    copy_database(bench.folder, tmp_path / "backup")
    head = (bench.folder / HEAD).read_bytes()
    close_window(bench, bench.open(), number=2)
    bench.close()
    newest = (bench.folder / HEAD).read_bytes()
    copy_database(tmp_path / "backup", bench.folder)
    (bench.folder / HEAD).write_bytes(head)
    device = bench.open()
    bench.at(START + 2 * HOUR + 61)  # another second of charging, another digest
    device.pipeline.close_windows()
    bench.close()
    (bench.folder / HEAD).write_bytes(newest)
    check_halted(bench, bench.open(), Halt.LEDGER_FORKED)


def test_a_lost_database_is_noticed(bench, device):
    """A reinstallation that kept the rest of the folder."""
    close_window(bench, device)
    bench.close()
    remove_database(bench)
    check_halted(bench, bench.open(), Halt.LEDGER_MISSING)


def test_a_lost_head_is_noticed(bench, device):
    """Beside a ledger, or beside none: the secret says that there was one."""
    close_window(bench, device)
    bench.close()
    (bench.folder / HEAD).unlink()
    check_halted(bench, bench.open(), Halt.HEAD_MISSING)


def test_an_identity_alone_is_no_new_device(bench, device):
    """A reinstallation that kept the identity file only."""
    close_window(bench, device)
    bench.close()
    remove_database(bench)
    (bench.folder / HEAD).unlink()
    check_halted(bench, bench.open(), Halt.HEAD_MISSING)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"sequence":3,"digest":"AAAA"'])
def test_a_broken_head_is_noticed(bench, device, content):
    """Whatever is in it."""
    close_window(bench, device)
    bench.close()
    (bench.folder / HEAD).write_bytes(content)
    check_halted(bench, bench.open(), Halt.HEAD_UNREADABLE)


def test_a_changed_row_is_noticed_at_start(bench, device):
    """The chain is walked before anything is drawn."""
    close_window(bench, device)
    device.store.connection.execute("UPDATE ledger SET nano = nano - 1 WHERE sequence = 2")
    check_halted(bench, bench.open(), Halt.LEDGER_BROKEN)


def test_the_last_rows_cannot_be_cut_off(bench, device):
    """The chain alone would not tell."""
    close_window(bench, device)
    device.store.connection.execute("DELETE FROM ledger WHERE sequence = 3")
    check_halted(bench, device, Halt.LEDGER_OLDER)


def test_a_lost_identity_beside_a_ledger_stops_the_agent(bench, device):
    """A new secret would report every window again; beside an old database or only beside its head."""
    close_window(bench, device)
    bench.close()
    (bench.folder / IDENTITY).unlink()
    with pytest.raises(StoreError, match="identity is gone"):
        bench.open()
    remove_database(bench)
    with pytest.raises(StoreError, match="identity is gone"):
        bench.open()


def test_a_new_state_folder_is_the_way_out(bench, device):
    """A new device: new secret, new budget."""
    close_window(bench, device)
    bench.close()
    (bench.folder / HEAD).unlink()
    shutil.rmtree(bench.folder)
    device = bench.open()
    device.pipeline.close_windows()
    assert device.pipeline.halted is None


def test_a_kill_while_a_device_is_made_leaves_a_device_to_be_made(bench):
    """Head written, secret not yet."""
    bench.open()
    bench.close()
    (bench.folder / IDENTITY).unlink()
    assert bench.open().pipeline.halted is None


def test_a_device_of_the_version_before_gets_its_head_once(bench, device):
    """Its secret says nothing of a head; from then on it does."""
    close_window(bench, device)
    secret = (bench.folder / IDENTITY).read_text().splitlines()[0]
    bench.close()
    (bench.folder / HEAD).unlink()
    (bench.folder / IDENTITY).write_text(secret)

    device = bench.open()
    assert device.pipeline.halted is None
    assert read_head(bench.folder / HEAD) == device.store.ledger.head()
    assert close_window(bench, device, number=2) == 3
    bench.close()
    (bench.folder / HEAD).unlink()
    check_halted(bench, bench.open(), Halt.HEAD_MISSING)


def test_a_commit_whose_end_nobody_saw_is_read_before_anything_is_drawn(bench, device):
    """SQLite reports a failure and has kept the rows: they are charged once, drawn once, sent as they are."""
    connection = device.store.connection

    class Failing:
        """A connection whose COMMIT of reports works and then says that it did not."""

        has_reports = False

        def __getattr__(self, name):
            return getattr(connection, name)

        def execute(self, sql, *parameters):
            done = connection.execute(sql, *parameters)
            self.has_reports = self.has_reports or sql.startswith("INSERT INTO outbox")
            if sql == "COMMIT" and self.has_reports:
                raise sqlite3.OperationalError("disk I/O error")
            return done

    bench.at(START + HOUR + 60)
    device.store._connection = Failing()
    with pytest.raises((RetryableError, StoreError)):
        device.pipeline.close_windows()
    assert device.store.outbox.waiting() == 3
    before = [row.envelope for row in device.store.outbox.due(2**60, 10)]
    assert device.pipeline.close_windows() == 0
    assert [row.envelope for row in device.pipeline.publishable(10)] == before
    assert read_head(bench.folder / HEAD).sequence == 3


def test_the_head_is_a_small_readable_file(bench, device):
    """So that an operator can look at it."""
    close_window(bench, device)
    kept = msgspec.json.decode((bench.folder / HEAD).read_bytes())
    assert set(kept) == {"sequence", "digest", "device"}


def test_an_old_identity_put_into_a_new_installation_stops_releases(bench):
    """Its windows were reported already: the same report ids would come with a second draw."""
    device = bench.open()
    device.pipeline.close_windows()
    assert close_window(bench, device) > 0
    bench.close()
    identity = (bench.folder / IDENTITY).read_bytes()
    shutil.rmtree(bench.folder)
    bench.at(START)
    bench.open().pipeline.close_windows()
    bench.close()
    (bench.folder / IDENTITY).write_bytes(identity)

    check_halted(bench, bench.open(), Halt.IDENTITY_CHANGED)


def test_a_head_of_before_names_no_device_and_is_taken(bench, device):
    """The next one names it."""
    device.pipeline.close_windows()
    close_window(bench, device)
    bench.close()
    head = read_head(bench.folder / HEAD)
    (bench.folder / HEAD).write_bytes(replace(head, device="").encode())
    again = bench.open()
    assert again.pipeline.halted is None
    close_window(bench, again, number=2)

    assert read_head(bench.folder / HEAD).device == head.device != ""
