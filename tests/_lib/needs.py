"""Components a test may lack: a skip with a reason at home, a failure where REQUIRE_SERVICES=1 promises them."""

import os

import pytest


def need(component_available, reason):
    """Skip the calling test with `reason` unless the component is there; under REQUIRE_SERVICES=1 fail instead."""
    if component_available:
        return
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"REQUIRE_SERVICES=1, but {reason}", pytrace=False)
    pytest.skip(reason)
