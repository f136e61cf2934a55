"""Logs are lines on standard error; services get JSON."""

import json

import pytest
import structlog

from discreet_contract.log import configure_logging


@pytest.fixture(autouse=True)
def _restored():
    yield
    structlog.reset_defaults()


def test_services_log_json(capsys):
    """One object a line, with level and UTC time."""
    configure_logging(json=True)
    structlog.get_logger().info("started", port=1)

    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["port"]) == ("started", "info", 1)
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_is_logged_without_a_complaint(capsys, as_json):
    """Warnings are errors in these tests."""
    configure_logging(json=as_json)
    try:
        int("no good")
    except ValueError:
        structlog.get_logger().exception("failed")

    captured = capsys.readouterr()
    assert "no good" in captured.err
    assert captured.out == ""
