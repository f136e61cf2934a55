"""`discreet agent experiments` in words: every standing has its own."""

from discreet_agent.cli.trials import _WORDS, _row
from discreet_agent.trials.standing import Standing


def test_every_standing_is_told_in_words():
    assert set(_WORDS) == {standing.value for standing in Standing}
    assert len(set(_WORDS.values())) == len(_WORDS)


def test_a_row_says_arm_since_when_and_first_exposure():
    """What the agent says of an experiment, as a line of the table."""
    told = {"name": "autoplay", "standing": "ENROLLED", "start": "2027-07-29", "end": "2027-12-16"}
    exposure = {"arm": "on", "phase": "918bd488038e", "first_ms": 1_816_819_200_000, "policy_version": 3, "reports": 2}
    enrolled = told | {"arm": "on", "since_ms": 1_816_732_800_000, "left_ms": None, "exposures": [exposure]}
    assert _row(enrolled) == {
        "experiment": "autoplay",
        "standing": "takes part",
        "arm": "on",
        "since": "2027-07-28 00:00",
        "days": "2027-07-29 to 2027-12-16",
        "exposed": "2027-07-29 00:00",
    }
    assert _row(told | {"standing": "NOT_DRAWN", "exposures": []})["standing"] == "not drawn"
