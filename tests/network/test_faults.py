"""Twenty devices, a broker and two workers as real processes in network namespaces: whatever happens, totals are exact.

Each test lets one kind of fault go on while reports are under way, ends it, and waits until nothing is left to do.
"""

import random
import time

import pytest

from needs import need
from net_fleet import BAD_PORT, PLACES, PORT, REPORTS, NetFleet
from netns import Network, why_not

pytestmark = pytest.mark.slow
DEVICES = 20
CHANCE = random.SystemRandom()


@pytest.fixture(scope="module")
def network():
    """The namespaces that all tests of this file share."""
    reason = why_not()
    need(not reason, reason)
    with Network(*PLACES) as network:
        yield network


@pytest.fixture
def fleet(request, network, tmp_path):
    """Everything runs, and reports are on their way; the test says what goes wrong."""
    settings = {"database": "sqlite", "line": PORT} | getattr(request, "param", {})
    address = request.getfixturevalue("local_postgres") if settings["database"] == "postgresql" else ""
    fleet = NetFleet(tmp_path, network, devices=DEVICES, database=address, line=settings["line"])
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


def until_mostly_made(fleet, act, rounds):
    """`act` so often at least, and until every device has charged all that it will."""
    for number in range(10_000):
        if number >= rounds and fleet.made_in_all() == REPORTS * DEVICES:
            return
        act(number)


def test_without_faults(fleet):
    """What the others spoil: everything is made, settled and counted once."""
    start(fleet)
    fleet.finish()


def test_loss(fleet, network):
    """Three TCP packets in ten are lost, everywhere."""
    start(fleet)
    network.lose(30)
    time.sleep(12)
    assert network.dropped() > 100
    network.lose(0)
    fleet.finish()
