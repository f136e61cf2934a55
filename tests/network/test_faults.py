"""Twenty devices, a broker and two workers as real processes in network namespaces: whatever happens, totals are exact.

Each test lets one kind of fault go on while reports are under way, ends it, and waits until nothing is left to do.
"""

import os
import random
import re
import signal
import time
import uuid
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from needs import need
from net_fleet import BAD_PORT, PLACES, PORT, REPORTS, NetFleet
from netns import Network, why_not
from postgres import NOBODY

pytestmark = pytest.mark.slow
DEVICES = 20
DISK_MEGABYTES = 16
DISK_FULL = re.compile("disk is full|No space left")  # as SQLite says it, and PostgreSQL
CHANCE = random.SystemRandom()
ON_POSTGRES = {"database": "postgresql"}
on_postgres = pytest.mark.parametrize("fleet", [ON_POSTGRES], indirect=True, ids=["postgresql"])


@pytest.fixture(scope="module")
def network():
    """The namespaces that all tests of this file share."""
    reason = why_not()
    need(not reason, reason)
    with Network(*PLACES) as network:
        yield network


@pytest.fixture
def small_tablespace(network, postgres):
    """A folder of few megabytes for PostgreSQL's tables; its own log has room."""
    folder = postgres.data.parent / f"small{uuid.uuid4().hex[:8]}"
    network.mount_small(folder, DISK_MEGABYTES)
    os.chown(folder, NOBODY, NOBODY)
    with closing(psycopg.connect(postgres.address(), autocommit=True)) as connection:
        connection.execute(f"create tablespace {folder.name} location '{folder}'")
    return folder


@pytest.fixture
def fleet(request, network, tmp_path):
    """Everything runs, and reports are on their way; the test says what goes wrong."""
    settings = {"database": "sqlite", "line": PORT, "spread": 18, "small_disk": False} | getattr(request, "param", {})
    address = request.getfixturevalue("local_postgres") if settings["database"] == "postgresql" else ""
    small = request.getfixturevalue("small_tablespace") if address and settings["small_disk"] else None
    fleet = NetFleet(
        *(tmp_path, network),
        devices=DEVICES,
        database=address + (f"%20-cdefault_tablespace%3D{small.name}" if small else ""),
        **{k: settings[k] for k in ("line", "spread")},
    )
    fleet.server = request.getfixturevalue("postgres") if address else None
    fleet.disk = small or tmp_path / "aggregator"
    if settings["small_disk"] and not small:
        network.mount_small(fleet.disk, DISK_MEGABYTES)
    try:
        fleet.seed_devices()
        fleet.start_broker()
        if settings["line"] == BAD_PORT:
            fleet.start_bad_line()
        yield fleet
    finally:
        fleet.close()
        network.lose(0)
        for place in PLACES:
            network.mend(place)


def start(fleet):
    """Workers and devices, up to the first reports that settle."""
    fleet.start_servers()
    for name in fleet.devices:
        fleet.start_device(name)
    fleet.wait(lambda: fleet.settled() > 0, lambda: "no report is settled")


def still_under_way(fleet):
    """A fault after which nothing is left to do proves nothing."""
    assert fleet.settled() < REPORTS * DEVICES, "too little traffic for the faults"


@on_postgres
def test_loss(fleet, network):
    """Three TCP packets in ten are lost, everywhere."""
    start(fleet)
    network.lose(30)
    time.sleep(8)
    assert network.dropped() > 100
    still_under_way(fleet)
    network.lose(0)
    fleet.finish()


@pytest.mark.parametrize("fleet", [{"line": BAD_PORT} | ON_POSTGRES], indirect=True, ids=["postgresql"])
def test_delay_resets_and_half_open_connections(fleet):
    """Pieces come late, connections are reset, and some hang: one end is gone and the other does not know."""
    start(fleet)
    fleet.tell_line(delay=0.3, reset=0.15, hang=0.05)
    time.sleep(8)
    still_under_way(fleet)
    fleet.tell_line()
    fleet.wait(lambda: "connections" in fleet.line_did(), lambda: "the line does not answer")
    fleet.finish()
    fleet.tell_line()
    did = fleet.line_did()
    assert did["reset"] > 5, did
    assert did["hung"] > 1, did
    assert did["delayed"] > 50, did


def test_half_of_the_devices_are_cut_off(fleet, network):
    """One place loses its link: the other goes on, and the first catches up."""
    start(fleet)
    network.cut("east")
    others = [name for name, place in fleet.devices.items() if place != "east"]
    fleet.wait(
        lambda: all(fleet.counts(name) == (REPORTS, 0) for name in others), lambda: "the others do not settle all"
    )
    still_under_way(fleet)
    network.mend("east")
    fleet.finish()


@pytest.mark.parametrize(
    ("fleet", "keeps"), [(ON_POSTGRES, True), ({}, False)], indirect=["fleet"], ids=["saved", "forgotten"]
)
def test_broker_killed(fleet, keeps):
    """SIGKILL again and again; it begins with what it last saved, or with nothing: no sessions, no queues."""
    start(fleet)
    for _ in range(4):
        if keeps:
            fleet.save_broker()
        time.sleep(CHANCE.uniform(0.5, 2))
        fleet.kill("broker")
        if not keeps:
            fleet.forget_broker()
        still_under_way(fleet)
        fleet.start_broker()
    fleet.finish()


@on_postgres
def test_workers_killed(fleet):
    """SIGKILL of one worker or the other every second or two."""
    start(fleet)
    killed = 0
    while killed < 6:
        time.sleep(CHANCE.uniform(0.5, 2))
        for pid in fleet.workers()[:1] if killed % 2 else fleet.workers()[1:]:
            fleet.kill_worker(pid)
            killed += 1
    still_under_way(fleet)
    fleet.finish()


@pytest.mark.parametrize("fleet", [{"spread": 30}], indirect=True, ids=["sqlite"])
def test_agents_killed(fleet):
    """SIGKILL of devices at random, some of them while they start."""
    start(fleet)
    for _ in range(20):
        time.sleep(CHANCE.uniform(0.1, 0.9))
        name = CHANCE.choice(list(fleet.devices))
        fleet.kill(name)
        fleet.start_device(name)
    still_under_way(fleet)
    fleet.finish()


@pytest.mark.parametrize(
    "fleet", [{"small_disk": True}, {"small_disk": True} | ON_POSTGRES], indirect=True, ids=["sqlite", "postgresql"]
)
def test_disk_full_at_the_aggregator(fleet):
    """Not a byte is left where its database is, for a while: devices keep what is not answered."""
    start(fleet)
    with full(fleet.disk):
        fleet.wait(lambda: DISK_FULL.search(fleet.said("aggregator")), lambda: "the aggregator does not notice")
        time.sleep(5)
        still_under_way(fleet)
    fleet.finish()


@on_postgres
def test_postgresql_restarted(fleet):
    """Stopped in good order and as in a crash, twice each under way; for a moment it is away."""
    start(fleet)
    for how in (signal.SIGINT, signal.SIGQUIT) * 2:
        fleet.server.stop(how)
        time.sleep(CHANCE.uniform(0.2, 1.5))
        still_under_way(fleet)
        fleet.server.start()
        time.sleep(CHANCE.uniform(0.3, 1))
    fleet.finish()


@pytest.mark.parametrize("fleet", [{"line": BAD_PORT, "spread": 25} | ON_POSTGRES], indirect=True, ids=["postgresql"])
def test_all_at_once(fleet, network):
    """Loss, delay, resets, a cut, and whatever runs is killed or restarted, in any order."""
    start(fleet)
    network.lose(10)
    fleet.tell_line(delay=0.2, reset=0.1, hang=0.02)
    blows = [broker_dies, worker_dies, device_dies, device_dies, postgresql_crashes, cut_for_a_moment] * 2
    CHANCE.shuffle(blows)
    for blow in blows:
        blow(fleet)
        time.sleep(CHANCE.uniform(0.2, 1))
    still_under_way(fleet)
    network.lose(0)
    fleet.tell_line()
    fleet.finish()


def broker_dies(fleet):
    fleet.kill("broker")
    if CHANCE.random() < 0.5:
        fleet.forget_broker()
    fleet.start_broker()


def worker_dies(fleet):
    for pid in fleet.workers()[:1]:
        fleet.kill_worker(pid)


def device_dies(fleet):
    name = CHANCE.choice(list(fleet.devices))
    fleet.kill(name)
    fleet.start_device(name)


def postgresql_crashes(fleet):
    fleet.server.stop(signal.SIGQUIT)
    time.sleep(0.5)
    fleet.server.start()


def cut_for_a_moment(fleet):
    place = CHANCE.choice(PLACES)
    fleet.network.cut(place)
    time.sleep(1.5)
    fleet.network.mend(place)


@contextmanager
def full(folder: Path):
    """Every free byte of the folder's file system is taken, until the block ends."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(b"\0" * size)
    try:
        yield
    finally:
        filler.unlink()
