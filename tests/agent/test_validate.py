"""Each rule of validation, by its own refusal, in its exact words."""

import pytest

from device_bench import START, make_policy, opening
from discreet_agent.event import Event, EventRefusal, Refused
from discreet_agent.validate import FUTURE_SKEW_MS, MAX_EVENT_CHARACTERS, Validator, parse_time

NOW = START * 1000
DAY = 86_400_000
GRAIN = 21_600_000  # of a retention of three days
REFUSING = (("lateness: 1m", "lateness: 1m\nundeclared: refuse"),)
# The present version has four fields more than the older ones.
MORE_FIELDS = """      forced: {type: boolean, required: false}
      room: {type: category, values: [hall, attic], default: hall}
      level: {type: number, min: 0, max: 9, default: 2}
      quick: {type: boolean, required: false, default: true}
      note: {type: text, max_length: 8, required: false}
"""
LIFTING = (
    ("    version: 1-1-0\n    accepts: [1-0-0]", "    version: 2-0-0\n    accepts: [1-1-0, 1-0-0]"),
    ("      forced: {type: boolean, required: false}\n", MORE_FIELDS),
)
WIDE = (("seconds: {type: number, min: -10, max: 100,", "seconds: {type: number, min: -10, max: 4000000000000000,"),)


def check(edits=(), **changes):
    at = changes.pop("at", START)
    return Validator(make_policy(edits=edits).policy).check(opening(at, **changes), NOW, "porter")


def fields(**changes):
    return {"fields": {"seconds": 1, "side": "left"} | changes}


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"signal": "door.closed"}, "UNKNOWN_SIGNAL", "the policy declares no such signal"),
        ({"version": "2-0-0"}, "UNKNOWN_VERSION", "door.opened is taken at version 1-1-0, 1-0-0"),
        ({"version": "planted"}, "UNKNOWN_VERSION", "door.opened is taken at version 1-1-0, 1-0-0"),
        *(
            ({"time": time}, "BAD_TIME", "time is RFC 3339 with an offset, or integer milliseconds since 1970")
            for time in ("yesterday", "", "2023-11-15T00:00:00", "2023-11-15", "1969-12-31T23:59:59Z", -1, 2**60)
        ),
        ({"time": NOW + FUTURE_SKEW_MS + 1}, "TIME_IN_FUTURE", "time is more than 300 s ahead of this device"),
        (
            {"time": NOW - 3 * DAY + GRAIN - 1},
            "TOO_OLD",
            "time lies before what the signal's retention of 3d keeps",
        ),
        ({"id": ""}, "BAD_ID", "id is a text of 1 to 64 bytes"),
        ({"id": "ü" * 33}, "BAD_ID", "id is a text of 1 to 64 bytes"),
        ({"retracts": ""}, "BAD_ID", "retracts is the id of an earlier event, a text of 1 to 64 bytes"),
        ({"retracts": "x" * 65}, "BAD_ID", "retracts is the id of an earlier event, a text of 1 to 64 bytes"),
        ({"fields": {"side": "left"}}, "MISSING_FIELD", "seconds is required"),
        ({"fields": {}}, "MISSING_FIELD", "seconds is required"),
        (fields(seconds="1"), "WRONG_TYPE", "seconds is a number"),
        (fields(seconds=True), "WRONG_TYPE", "seconds is a number"),
        (fields(side=1), "WRONG_TYPE", "side is a category, written as text"),
        (fields(forced=1), "WRONG_TYPE", "forced is true or false"),
        (fields(seconds=100.5), "OUT_OF_BOUNDS", "seconds > 100"),
        (fields(seconds=10**400), "OUT_OF_BOUNDS", "seconds > 100"),
        (fields(seconds=float("inf")), "OUT_OF_BOUNDS", "seconds > 100"),
        (fields(seconds=-10.5), "OUT_OF_BOUNDS", "seconds < -10"),
        (fields(seconds=float("nan")), "OUT_OF_BOUNDS", "seconds < -10"),
        (fields(side="middle"), "UNKNOWN_CATEGORY", "side is none of the declared values"),
        (
            fields(more="x" * MAX_EVENT_CHARACTERS),
            "TOO_LARGE",
            "an event's fields have at most 65536 characters, names included",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_names_the_rule(changes, reason, detail):
    """One case a rule; the detail tells the sender what to mend."""
    assert check(**changes) == Refused(EventRefusal(reason), detail)


@pytest.mark.parametrize("text", ["", "x" * 9])
def test_a_text_keeps_its_length(text):
    assert check(LIFTING, version="1-1-0", **fields(note=text)) == Refused(
        EventRefusal.OUT_OF_BOUNDS,
        "note has 1 to 8 characters (events of 1-1-0 are held to the rules of 2-0-0)",
    )


def test_large_bounds_are_written_out():
    """The sender reads the bound itself, not its first digits."""
    assert check(WIDE, **fields(seconds=10**16)).detail == "seconds > 4000000000000000"


def test_a_refusal_never_quotes_the_value():
    """P1: what was wrong is not repeated."""
    for given in ({"seconds": 8317.25, "side": "left"}, {"seconds": 1, "side": "planted-side"}):
        refused = check(fields=given)
        assert "8317" not in repr(refused)
        assert "planted" not in repr(refused)


def test_undeclared_fields_are_dropped_and_counted_by_signal():
    """Minimisation: only what the policy declares is kept, and no name that a sender made up becomes a counter's."""
    validator = Validator(make_policy().policy)
    for more in ({"name": "Ada"}, {"name": "Ada", "age": 36}, {}):
        event = validator.check(opening(START, **fields(**more)), NOW)
        assert event.fields == {"seconds": 1, "side": "left"}

    assert validator.take_dropped() == {"door.opened": 3}
    assert validator.take_dropped() == {}


def test_undeclared_fields_are_refused_where_the_policy_says_so():
    """The answer lists what is declared, not what was sent."""
    detail = "the signal does not declare every field sent; it declares forced, seconds, side"

    assert check(REFUSING, **fields(planted=1)) == Refused(EventRefusal.UNDECLARED_FIELD, detail)
    assert isinstance(check(REFUSING, **fields()), Event)


def test_a_field_that_is_wrong_is_named_before_one_that_is_undeclared():
    assert check(REFUSING, **fields(seconds=101, more=1)).reason is EventRefusal.OUT_OF_BOUNDS


@pytest.mark.parametrize(
    "time",
    [
        START * 1000,
        "2023-11-15T00:00:00Z",
        "2023-11-15T01:00:00+01:00",
        "2023-11-15T00:00:00.000Z",
        "2023-11-14T19:00:00.000999-05:00",
    ],
)
def test_times_in_every_form_mean_the_same(time):
    """Integer milliseconds and RFC 3339 with any offset; what is finer than a millisecond is cut."""
    assert check(time=time).time_ms == START * 1000


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        (0, 0),
        (2**53 - 1, 2**53 - 1),
        (2**53, -1),
        (True, -1),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.001Z", 1),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0001-01-01T00:00:00+23:59", -1),
        ("9999-12-31T23:59:59-23:59", 253_402_387_139_000),
        ("2023-11-15T00:00:60Z", -1),
    ],
)
def test_a_time_is_read_exactly_or_not_at_all(time, ms):
    """−1 is no time."""
    assert parse_time(time) == ms


def test_an_event_knows_its_sender_and_the_version_it_was_made_for():
    event = check(version="1-0-0", id="a")

    assert event == Event("door.opened", "1-0-0", NOW, {"seconds": 1.5, "side": "left"}, "a", None, "porter")


def test_the_bounds_themselves_are_legal():
    """Closed intervals, in value, time and length."""
    for seconds in (-10, 100):
        assert isinstance(check(**fields(seconds=seconds)), Event)
    for time in (NOW + FUTURE_SKEW_MS, NOW - 3 * DAY + GRAIN):
        assert isinstance(check(time=time), Event)
    assert isinstance(check(LIFTING, version="2-0-0", **fields(room="attic", level=9, note="x" * 8)), Event)
    assert isinstance(check(id="x" * 64), Event)


def test_integers_that_no_row_could_hold_are_kept_as_floats():
    """Within bounds that are wider than what a float tells apart."""
    edits = (("min: -10, max: 100, unit: s, grid: 0.5", "min: -10, max: 1.0e+30, unit: s, grid: 1.0e+22"),)
    kept = check(edits, **fields(seconds=10**25)).fields["seconds"]

    assert kept == 1e25
    assert isinstance(kept, float)


def test_a_silenced_signal_is_declared_and_not_taken():
    """Whatever else is wrong with its events; one that is not declared stays unknown."""
    validator = Validator(make_policy().policy, {"door.opened", "not.declared"})

    assert validator.check(opening(START, version="9-9-9"), NOW).reason is EventRefusal.SILENCED
    assert validator.check(opening(START, signal="not.declared"), NOW).reason is EventRefusal.UNKNOWN_SIGNAL


# --- older schema versions ---------------------------------------------------------------------


def test_an_older_version_is_lifted_by_defaults():
    """Fields it could not know get their defaults; an optional one without a default stays away."""
    event = check(LIFTING, version="1-0-0", **fields())

    assert event.version == "1-0-0"
    assert event.fields == {"seconds": 1, "side": "left", "room": "hall", "level": 2.0, "quick": True}


def test_what_an_older_version_says_itself_is_kept():
    event = check(LIFTING, version="1-1-0", **fields(level=7, quick=False))

    assert event.fields == {"seconds": 1, "side": "left", "room": "hall", "level": 7, "quick": False}


def test_defaults_are_not_counted_as_fields_that_were_sent():
    """Two defaults and two undeclared fields do not cancel out."""
    validator = Validator(make_policy(edits=LIFTING).policy)
    validator.check(opening(START, version="1-0-0", **fields(a=1, b=2, c=3)), NOW)

    assert validator.take_dropped() == {"door.opened": 3}


@pytest.mark.parametrize("version", ["1-0-0", "1-1-0"])
def test_a_required_field_without_a_default_is_missed_in_every_version(version):
    assert check(LIFTING, version=version, fields={"side": "left"}) == Refused(
        EventRefusal.MISSING_FIELD, f"seconds is required (events of {version} are held to the rules of 2-0-0)"
    )


def test_an_older_value_outside_the_present_bounds_is_refused_by_name():
    assert check(LIFTING, version="1-0-0", **fields(seconds=101)) == Refused(
        EventRefusal.OUT_OF_BOUNDS, "seconds > 100 (events of 1-0-0 are held to the rules of 2-0-0)"
    )


def test_the_present_version_is_given_no_defaults():
    """Its senders know every field: a required one that is missing is a fault, an optional one stays away."""
    assert check(LIFTING, version="2-0-0", **fields(level=1)) == Refused(EventRefusal.MISSING_FIELD, "room is required")
    assert "quick" not in check(LIFTING, version="2-0-0", **fields(level=1, room="hall")).fields


def test_a_version_that_accepts_itself_is_still_the_present_one():
    edits = (("accepts: [1-0-0]", "accepts: [1-1-0, 1-0-0]"), ("min: -10, max: 100", "min: -10, max: 100, default: 3"))

    assert check(edits, version="1-1-0", fields={"side": "left"}).reason is EventRefusal.MISSING_FIELD
    assert check(edits, version="1-0-0", fields={"side": "left"}).fields["seconds"] == 3


# --- corrections -------------------------------------------------------------------------------


def test_a_correction_needs_no_fields_and_keeps_none():
    """Whatever it carries besides is left out, undeclared or not, and it may be about anything still stored."""
    for given in ({}, {"seconds": 10**9}, {"planted": "x"}):
        correction = check(REFUSING, retracts="first", id="second", fields=given, time=NOW - 3 * DAY)
        assert correction == Event("door.opened", "1-1-0", NOW - 3 * DAY, {}, "second", "first", "porter")


def test_a_correction_is_for_a_signal_and_version_that_are_declared_and_has_a_time():
    for changes in ({"signal": "door.closed"}, {"version": "9-0-0"}, {"time": "never"}, {"id": ""}):
        assert isinstance(check(retracts="first", **changes), Refused)
