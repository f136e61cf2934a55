"""A deployment under each of the two brokers."""

import pytest

from deployment import Deployment


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.slow)])
def deployment(request, tmp_path):
    settings = getattr(request.node.get_closest_marker("deployment"), "kwargs", {})
    deployment = Deployment(tmp_path, request.param, **settings)
    deployment.start_broker()
    yield deployment
    deployment.close()
