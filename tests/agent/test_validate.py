"""Each rule of validation, by its own refusal."""

import pytest

from device_bench import START, make_policy, opening
from discreet_agent.event import Event, EventRefusal, Refused
from discreet_agent.validate import FUTURE_SKEW_MS, validate

SIGNALS = make_policy().policy.signals
NOW = START * 1000


def check(**changes):
    at = changes.pop("at", START)
    return validate(opening(at, **changes), SIGNALS, NOW)


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"signal": "door.closed"}, EventRefusal.UNKNOWN_SIGNAL, "no such signal"),
        ({"version": "2-0-0"}, EventRefusal.UNKNOWN_VERSION, "taken at version 1-1-0"),
        ({"time": "yesterday"}, EventRefusal.BAD_TIME, "RFC 3339"),
        ({"time": "2023-11-15T00:00:00"}, EventRefusal.BAD_TIME, "offset"),
        ({"time": -1}, EventRefusal.BAD_TIME, "since 1970"),
        ({"time": 2**60}, EventRefusal.BAD_TIME, "since 1970"),
        ({"time": NOW + FUTURE_SKEW_MS + 1}, EventRefusal.TIME_IN_FUTURE, "ahead"),
        ({"time": NOW - 3 * 86_400_000 - 1}, EventRefusal.TOO_OLD, "retention of 3d"),
        ({"fields": {"side": "left"}}, EventRefusal.MISSING_FIELD, "seconds is required"),
        ({"fields": {"seconds": "1", "side": "left"}}, EventRefusal.WRONG_TYPE, "seconds is a number"),
        ({"fields": {"seconds": True, "side": "left"}}, EventRefusal.WRONG_TYPE, "seconds is a number"),
        ({"fields": {"seconds": 1, "side": 1}}, EventRefusal.WRONG_TYPE, "side is a category"),
        ({"fields": {"seconds": 1, "side": "left", "forced": 1}}, EventRefusal.WRONG_TYPE, "true or false"),
        ({"fields": {"seconds": 100.5, "side": "left"}}, EventRefusal.OUT_OF_BOUNDS, "seconds > 100"),
        ({"fields": {"seconds": -10.5, "side": "left"}}, EventRefusal.OUT_OF_BOUNDS, "seconds < -10"),
        ({"fields": {"seconds": float("nan"), "side": "left"}}, EventRefusal.OUT_OF_BOUNDS, "seconds"),
        ({"fields": {"seconds": 1, "side": "middle"}}, EventRefusal.UNKNOWN_CATEGORY, "none of the declared"),
    ],
)
def test_a_refusal_names_the_rule(changes, reason, detail):
    """One case a rule; the detail tells the sender what to mend."""
    refused = check(**changes)

    assert isinstance(refused, Refused)
    assert refused.reason is reason
    assert detail in refused.detail


def test_a_refusal_never_quotes_the_value():
    """P1: what was wrong is not repeated."""
    for fields in ({"seconds": 8317.25, "side": "left"}, {"seconds": 1, "side": "planted-side"}):
        refused = check(fields=fields)
        assert "8317" not in repr(refused)
        assert "planted" not in repr(refused)


def test_undeclared_fields_are_dropped():
    """Minimisation: only what the policy declares is kept."""
    event = check(fields={"seconds": 1, "side": "left", "name": "Ada"})

    assert isinstance(event, Event)
    assert event.fields == {"seconds": 1, "side": "left"}


@pytest.mark.parametrize(
    "time", [START * 1000, "2023-11-15T00:00:00Z", "2023-11-15T01:00:00+01:00", "2023-11-15T00:00:00.000Z"]
)
def test_times_in_every_form_mean_the_same(time):
    """Integer milliseconds and RFC 3339 with any offset."""
    event = check(time=time)

    assert isinstance(event, Event)
    assert event.time_ms == START * 1000


def test_an_accepted_older_version_is_taken():
    """The policy lists it."""
    assert isinstance(check(version="1-0-0"), Event)


def test_the_bounds_themselves_are_legal():
    """Closed intervals."""
    for seconds in (-10, 100):
        assert isinstance(check(fields={"seconds": seconds, "side": "left"}), Event)
