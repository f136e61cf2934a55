"""Durations as policies write them."""

import msgspec
import pytest

from discreet_contract.durations import Duration, seconds


@pytest.mark.parametrize(("text", "length"), [("0s", 0), ("90s", 90), ("5m", 300), ("2h", 7200), ("28d", 2_419_200)])
def test_a_duration_is_a_number_and_a_unit(text, length):
    """Seconds, minutes, hours, days."""
    assert seconds(msgspec.convert(text, Duration)) == length


@pytest.mark.parametrize(
    "text", ["", "0m", "5", "5w", "-5s", "05s", "5 m", "5m\n", "5s5m", "x0s", "0sx", "99999999s", "1.5h"]
)
def test_anything_else_is_refused(text):
    """One way to write a length, and a line break is not part of it."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, Duration)
