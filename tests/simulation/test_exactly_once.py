"""P4 and P2 as a simulation: whatever happens on the way, nothing counts twice and nothing acknowledged is lost.

Lists of operations over two real devices, a broker that loses, repeats and reorders, and two real workers on one
database. A list that found a fault stays below, with a sentence on what it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from device_bench import Bench, make_policy
from discreet_aggregator.store.store import Store
from path_world import World

DEVICE = WORKER = st.integers(0, 1)
PLACE = st.integers(0, 30)
MAYBE = st.none() | st.integers(0, 8)
OPERATION = st.one_of(
    st.tuples(st.just("event"), DEVICE),
    st.tuples(st.just("wait"), st.sampled_from([1, 6, 30, 61, 61, 125, 700, 1700])),
    st.tuples(st.just("tick"), DEVICE, st.none(), st.just(False)),
    st.tuples(st.just("tick"), DEVICE, MAYBE, st.booleans()),
    st.tuples(st.just("answer"), DEVICE, st.sampled_from(["once", "lost", "twice"]), st.none() | st.integers(0, 2)),
    st.tuples(st.just("deliver"), WORKER, st.sampled_from([1, 3, 100]), st.none(), st.just(False), st.none()),
    st.tuples(
        *(st.just("deliver"), WORKER, st.sampled_from([1, 3, 100]), st.none() | st.integers(1, 40), st.booleans()),
        st.none() | st.integers(0, 2),
    ),
    st.tuples(st.just("kill"), DEVICE),
    st.tuples(st.just("drop"), PLACE),
    st.tuples(st.just("duplicate"), PLACE),
    st.tuples(st.just("reverse")),
    st.tuples(st.just("replay"), PLACE),
    st.tuples(st.just("forge"), PLACE),
    st.tuples(st.just("broker"), st.booleans()),
    st.tuples(st.just("load"), WORKER, st.integers(1, 3), st.integers(0, 1)),
    st.tuples(st.just("policy"), DEVICE, st.integers(0, 2)),
    st.tuples(st.just("worker_clock"), WORKER, st.sampled_from([-100, 0, 0, 90, 2000])),
    st.tuples(st.just("device_clock"), DEVICE, st.sampled_from([-3000, -70, 0, 0, 70, 3000])),
    st.tuples(st.just("backup"), DEVICE),
    st.tuples(st.just("restore"), DEVICE),
    st.tuples(st.just("server_backup")),
    st.tuples(st.just("server_restore")),
    st.tuples(st.just("resend")),
)
LISTS = st.lists(OPERATION, min_size=4, max_size=24)

# Something to go wrong with: both devices enrolled, some windows over, reports on their way and in outboxes.
BEGIN = [
    *(("tick", 0, None, False), ("tick", 1, None, False), ("wait", 61), ("event", 0), ("wait", 61)),
    *(("tick", 0, None, False), ("wait", 6), ("tick", 0, None, False), ("tick", 1, None, False)),
]

FIXED = {
    "nothing goes wrong": [
        ("tick", 0, None, False),
        ("deliver", 0, 100, None, False, None),
        ("answer", 0, "once", None),
    ],
    "the commit of a worker, whose receipts nobody hears": [
        *(("tick", 0, None, False), ("wait", 6), ("tick", 0, None, False)),
        *(("deliver", 0, 100, None, False, 0), ("deliver", 1, 100, None, False, None), ("answer", 0, "once", None)),
    ],
    "a device that dies between sending and writing it down": [
        *(("tick", 0, None, False), ("wait", 6), ("tick", 0, 0, False), ("tick", 0, None, False)),
        *(("deliver", 0, 1, None, False, None), ("deliver", 1, 100, None, False, None), ("answer", 0, "twice", 0)),
    ],
    "an aggregator that is restored, and asks again": [
        *(("server_backup",), ("wait", 6), ("tick", 0, None, False), ("deliver", 0, 100, None, False, None)),
        *(("answer", 0, "once", None), ("server_restore",), ("deliver", 1, 100, None, False, None), ("resend",)),
    ],
    # The first oracle took its second answer, "too late", for a second verdict: ids are forgotten with their horizon.
    "a copy that comes again after its horizon": [
        *(("deliver", 0, 1, None, False, None), ("forge", 0), ("broker", False), ("replay", 0), ("wait", 1700)),
        ("deliver", 0, 1, None, False, None),
    ],
    "an older database beside a newer head": [
        *(("backup", 0), ("tick", 0, None, False), ("wait", 6), ("tick", 0, None, False), ("restore", 0)),
        *(("wait", 61), ("tick", 0, None, False), ("deliver", 0, 100, None, False, None)),
    ],
}


@pytest.fixture(scope="session")
def templates():
    """Folders of two new devices and of an aggregator, made once; in memory, so that thousands of lists are quick."""
    shm = Path("/dev/shm")  # noqa: S108 a folder of a random name in it
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as name:
        folder = Path(name)
        for number in (0, 1):
            bench = Bench(folder / "made" / f"device{number}", policy=make_policy(spread="5m"))
            bench.open()
            bench.close()
        with Store(folder / "made" / "server" / "aggregator.db"):
            pass
        yield folder


@contextmanager
def world(templates, kind=World, where=""):
    folder = Path(tempfile.mkdtemp(dir=templates))
    made = kind(folder, templates / "made", where=where)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)


def run(made, operations):
    for operation in [*BEGIN, *operations]:
        made.do(operation)
    made.check()
    made.come_to_rest()
    made.check(at_rest=True)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_lists(templates, name):
    with world(templates) as made:
        run(made, FIXED[name])


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=LISTS)
def test_generated_lists(templates, operations):
    with world(templates) as made:
        run(made, operations)


@pytest.mark.slow
@pytest.mark.parametrize("_share", range(10))
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=LISTS)
def test_ten_thousand_lists(templates, _share, operations):
    """A tenth of them each; Hypothesis draws others for each share."""
    with world(templates) as made:
        run(made, operations)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=LISTS)
def test_generated_lists_on_postgresql(templates, postgres, operations):
    with world(templates, where=postgres.address(f"s{os.urandom(8).hex()}")) as made:
        run(made, operations)


# --- and the simulation can fail -------------------------------------------------------------


class ClearsOnSending(World):
    """As if a PUBACK proved anything: what was handed over is settled."""

    def do_tick(self, device, kill_at, late):
        super().do_tick(device, kill_at, late)
        one = self.devices[device]
        if one.device.pipeline.halted is None:
            with one.device.store.transaction():
                for row in one.device.store.outbox.due(2**62, 1000):
                    if row.times_sent:
                        one.device.store.outbox.settle(row, 0, one.clock.now_ms())


class ForgetsIds(World):
    """A worker that remembers nothing of what it has seen."""

    def pipeline(self, worker):
        made = super().pipeline(worker)
        store = self.stores[worker]
        plain = store.transaction

        @contextmanager
        def forgetful():
            with plain() as transaction:
                transaction._seen.find = lambda _ids: {}
                yield transaction

        made._store = _Instead(store, forgetful)
        return made


class AnswersTooEarly(World):
    """Receipts go out, and the transaction is undone."""

    def pipeline(self, worker):
        made = super().pipeline(worker)
        store = self.stores[worker]

        @contextmanager
        def undone():
            with suppress(ZeroDivisionError), store.transaction() as transaction:
                yield transaction
                1 // (sum(self.steps.values()) % 3)

        made._store = _Instead(store, undone)
        return made


class DrawsAnew(World):
    """A device that seals again whenever it sends."""

    def sees(self, envelope):
        super().sees(envelope[:-1] + bytes([envelope[-1] ^ (len(self.broker.captured) % 2)]))


class _Instead:
    """A store with another `transaction`."""

    def __init__(self, store, transaction):
        self._store = store
        self.transaction = transaction

    def __getattr__(self, name):
        return getattr(self._store, name)


@pytest.mark.parametrize("kind", [ClearsOnSending, ForgetsIds, AnswersTooEarly, DrawsAnew])
def test_a_planted_fault_is_found(templates, kind):
    """Within 150 lists; else a green run would say nothing."""

    @settings(
        max_examples=150, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(operations=LISTS)
    def search(operations):
        with world(templates, kind) as made:
            run(made, operations)

    with pytest.raises(AssertionError):
        search()


def test_every_operation_happens():
    """Hypothesis could starve one of them, and nobody would notice."""
    seen = Counter()

    @settings(
        max_examples=400, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(operations=LISTS)
    def count(operations):
        seen.update(operation[0] for operation in operations)

    count()
    names = {name.removeprefix("do_") for name in dir(World) if name.startswith("do_")}
    assert set(seen) == names
