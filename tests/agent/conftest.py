"""A device on a clock that the test moves."""

import pytest

from device_bench import Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "state")
    yield bench
    bench.close()


@pytest.fixture
def device(bench):
    """A device that enrolled exactly at START."""
    device = bench.open()
    device.pipeline.close_windows()
    return device
