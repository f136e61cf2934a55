"""A missing component is a skip with a reason at home and a failure where it was promised."""

import pytest

from needs import need


def test_a_component_that_is_there_needs_nothing():
    """The test runs."""
    need(True, "nothing is missing")


def test_a_missing_component_is_a_skip_at_home(monkeypatch):
    """With the reason."""
    monkeypatch.delenv("REQUIRE_SERVICES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Mosquitto"):
        need(False, "no Mosquitto")


def test_a_missing_component_is_a_failure_where_services_are_required(monkeypatch):
    """CI sets REQUIRE_SERVICES=1."""
    monkeypatch.setenv("REQUIRE_SERVICES", "1")
    with pytest.raises(pytest.fail.Exception, match="no Mosquitto"):
        need(False, "no Mosquitto")
