"""Conditions that decide something on the device: they hold, they do not, or nobody can say."""

import pytest

from discreet_agent.personal.conditions import compile_condition, holds
from discreet_agent.personal.values import Names

FEATURES = {"minutes": 5, "absent": None, "genres": {"news": 1}}
VALUES = {**FEATURES, "features": FEATURES, "scores": {}, "segments": Names({"binge": False})}


@pytest.mark.parametrize(
    ("logic", "answer"),
    [
        ({">": [{"var": "minutes"}, 3]}, True),
        ({">": [{"var": "features.minutes"}, 30]}, False),
        ({"<": [{"var": "absent"}, 30]}, None),
        ({"!": {"var": "features.absent"}}, None),
        ({"or": [True, {"var": "absent"}]}, None),
        ({"var": ["absent", 1]}, True),
        ({"missing": ["absent"]}, True),
        ({"!": {"var": "genres.sport"}}, True),
        ({"var": "segments.binge"}, False),
        ({"in": ["binge", {"var": "segments"}]}, False),
        ({"$ref": "absent"}, None),
        ({"$ref": "shared"}, True),
        ({"$ref": "needing"}, None),
        ({"nonsense": []}, None),
    ],
)
def test_three_answers(logic, answer):
    """What a shared condition needs, the one that takes it in needs as well."""
    shared = {"shared": {"==": [{"var": "minutes"}, 5]}, "needing": {"!": {"var": "absent"}}}
    assert holds(compile_condition(logic, shared), VALUES, 0) is answer
