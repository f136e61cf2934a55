"""Report ids and first verdicts: whatever is merged, forgotten or written by others, answers are those of a dict."""

from __future__ import annotations

import random
import secrets
from contextlib import closing, suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discreet_aggregator.store import runs, seen
from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.store import Store
from discreet_contract.wire import Verdict

SALT = bytes(range(32))
ID = st.binary(min_size=16, max_size=16) | st.sampled_from(
    [bytes(16), b"\xff" * 16, b"a" + bytes(15), bytes(15) + b"a"]
)


# So small that a few hundred ids go through every tier; the shape is the same.
SMALL = seen.Bounds(young_ids=40, young_runs=6, tier_runs=3, full_ids=200)


@given(st.dictionaries(ID, st.integers(0, 255), max_size=60))
def test_a_run_is_sorted_and_holds_what_went_in(verdicts):
    """Ids of zero bytes included, and nothing that did not."""
    run = runs.pack(verdicts)
    assert dict(runs.unpack(run)) == verdicts
    assert [report_id for report_id, _ in runs.unpack(run)] == sorted(verdicts)
    for report_id in [*verdicts, secrets.token_bytes(16)]:
        assert runs.find(run, report_id) == verdicts.get(report_id)


@given(st.dictionaries(ID, st.integers(0, 255), max_size=60), st.integers(1, 6))
def test_merged_runs_are_one_run_of_all(verdicts, pieces):
    items = list(verdicts.items())
    parts = [runs.pack(dict(items[at::pieces])) for at in range(pieces)]
    assert runs.merge(parts) == runs.pack(verdicts)


@given(st.lists(ID, min_size=1, max_size=200, unique=True))
def test_a_filter_never_denies_what_it_holds(ids):
    hashed = runs.hashes(b"".join(ids), SALT)
    assert runs.may_hold(runs.make_filter(hashed), runs.probe(hashed)).all()


def test_a_filter_seldom_holds_what_it_does_not():
    """Half a percent of false alarms when measured; two would be a fault. Also for ids that count upwards."""
    held = b"".join(number.to_bytes(16, "big") for number in range(200_000))
    words = runs.make_filter(runs.hashes(held, SALT))
    for others in (range(200_000, 400_000), range(10**30, 10**30 + 200_000)):
        asked = b"".join(number.to_bytes(16, "big") for number in others)
        assert runs.may_hold(words, runs.probe(runs.hashes(asked, SALT))).mean() < 0.02


def test_another_salt_is_another_filter():
    """Who does not know the salt cannot choose ids that raise false alarms."""
    ids = secrets.token_bytes(16 * 1000)
    assert not np.array_equal(runs.hashes(ids, SALT), runs.hashes(ids, SALT[::-1]))


class Model:
    """Workers on one database beside a dict of what was committed."""

    def __init__(self, where: str, workers: int) -> None:
        self.stores = [Store(where, bounds=SMALL).__enter__() for _ in range(workers)]
        self.where = where
        self.known: dict[bytes, int] = {}
        self.now = 0

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def batch(self, worker: int, ids: list[bytes], *, fails: bool = False) -> None:
        """Look ids up, then remember the new ones; or fail before the commit."""
        new: dict[bytes, int] = {}
        with suppress(ZeroDivisionError), self.stores[worker].transaction() as transaction:
            found = transaction.stored_verdicts(ids)
            assert found == {one: self.known[one] for one in ids if one in self.known}
            new = {one: one[0] % 10 for one in ids if one not in found}
            transaction._seen.add(new, self.now + 100)
            1 // (not fails)
        if not fails:
            self.known |= new

    def merge(self, worker: int) -> None:
        if self.stores[worker].is_merge_due():
            with self.stores[worker].transaction() as transaction:
                transaction.merge_seen()

    def forget(self, worker: int, now: int) -> None:
        """Whole runs go, and only those past their time; what remains is what the database says."""
        self.now = max(self.now, now)
        with self.stores[worker].transaction() as transaction:
            while transaction.forget_seen(self.now * 1000):
                pass
        with closing(find_database(self.where).connect(read_only=True)) as connection:
            rows = connection.execute("select keep_until from seen_runs")
            assert all(keep_until >= self.now for (keep_until,) in rows)
            contents = connection.execute("select records from seen_parts")
        self.known = {one: verdict for (records,) in contents for one, verdict in runs.unpack(records)}


def check_walk(where, choices, steps):
    model = Model(where, workers=2)
    try:
        for _ in range(steps):
            worker, act = choices.randrange(2), choices.random()
            if act < 0.75:
                ids = [choices.randbytes(16) for _ in range(choices.choice([1, 3, 30]))]
                ids += choices.sample(sorted(model.known), min(len(model.known), 5))
                model.batch(worker, ids, fails=choices.random() < 0.1)
            elif act < 0.97:
                model.merge(worker)
            else:
                model.forget(worker, model.now + choices.randrange(120))
        for worker in (0, 1):
            model.batch(worker, sorted(model.known))
        with Store(where, bounds=SMALL) as fresh, fresh.transaction() as transaction:
            assert transaction.stored_verdicts(sorted(model.known)) == model.known
    finally:
        model.close()


def test_two_workers_and_a_dict_agree(where):
    """Batches, copies, failures, merges and forgetting in any order: every answer is the dict's, for both workers."""
    check_walk(where, random.Random(7), 400)  # noqa: S311 a walk that can be repeated


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_many_walks(postgres, tmp_path_factory, seed):
    check_walk(str(tmp_path_factory.mktemp("walk") / "a.db"), random.Random(seed), 300)  # noqa: S311
    check_walk(postgres.address(f"w{secrets.token_hex(8)}"), random.Random(seed), 150)  # noqa: S311


def test_every_tier_is_reached(where):
    """The walk above would prove nothing if no run ever left memory."""
    model = Model(where, workers=1)
    for number in range(60):
        model.batch(0, [number.to_bytes(2, "big") + secrets.token_bytes(14) for _ in range(10)])
        for _ in range(3):
            model.merge(0)
    view = model.stores[0]._seen
    assert view is not None
    sizes = sorted(old.ids for old in view._old.values())
    model.batch(0, sorted(model.known))
    model.close()
    assert sizes[-1] >= SMALL.full_ids
    assert len(sizes) < SMALL.tier_runs + 600 // SMALL.full_ids + 1


def test_the_least_bytes_an_id_takes(where):
    """17 bytes and a filter of four: what docs/ingest.md promises of one id, in blocks of 500 merged as they come."""
    with Store(where) as store:
        for _ in range(140):
            ids = {secrets.token_bytes(16): int(Verdict.ACCEPTED) for _ in range(500)}
            with store.transaction() as transaction:
                transaction._seen.add(ids, 1)
            if store.is_merge_due():
                with store.transaction() as transaction:
                    assert transaction.merge_seen()
    with closing(find_database(where).connect(read_only=True)) as connection:
        [[ids, words]] = connection.execute("select sum(ids), sum(length(filter)) from seen_runs where ids >= 32768")
        [[records]] = connection.execute(
            "select sum(length(records)) from seen_parts where run in (select id from seen_runs where ids >= 32768)"
        )
    assert ids >= 65_536
    assert (records + words) / ids < 21.01
