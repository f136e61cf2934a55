"""The JSON Schema that editors read takes what we hand out, and refuses what has the wrong shape."""

import jsonschema
import pytest

from discreet_contract.policy.schema import policy_schema
from policies import FLIGHTS, HOST, MEDIA, parsed

SCHEMA = policy_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def _typed(path):
    """An example as an editor sees it."""
    return parsed(path.read_text(encoding="utf-8")).value


def test_the_schema_is_one():
    """By the rules of its own dialect."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("example", [FLIGHTS, HOST, MEDIA], ids=lambda path: path.stem)
def test_the_examples_are_valid(example):
    """Shorthands included: `per_device: count`."""
    VALIDATOR.validate(_typed(example))


def test_every_key_has_a_description():
    """What an editor shows beside the cursor."""
    bare = [
        f"{name}.{key}"
        for name, definition in SCHEMA["$defs"].items()
        for key, value in definition["properties"].items()
        if "description" not in value and key != "type"
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("latenes",), "2h"),
        (("lateness",), "2 hours"),
        (("lateness",), 7200),
        (("fleet",), "Living Room"),
        (("fleet",), "living\n"),
        (("consent",), "maybe"),
        (("version",), 0),
        (("receipt_buckets",), 17),
        (("signals",), {}),
        (("signals", "Playback"), {}),
        (("signals", "playback.stopped", "role"), "both ways"),
        (("signals", "playback.stopped", "fields", "genre", "type"), "text"),
        (("signals", "playback.stopped", "fields", "genre", "values"), ["one"]),
        (("features", "minutes_7d", "aggregate"), "total"),
        (("features", "minutes_7d", "windows"), "7d"),
        (("scores", "binge", "weights"), {}),
        (("flags", "rows", "state"), "ON"),
        (("flags", "rows", "variants"), {}),
        (("experiments", "autoplay-2027", "arms"), {"off": 100}),
        (("experiments", "autoplay-2027", "traffic"), 0.2),
        (("metrics", "minutes", "per_device"), "median"),
        (("metrics", "minutes", "per_device"), {}),
        (("metrics", "minutes", "per_device"), {"sum": "seconds", "max": "seconds"}),
        (("metrics", "minutes", "type"), "average"),
        (("metrics", "minutes", "epsilon"), 0),
        (("metrics", "minutes", "bounds"), [0]),
        (("metrics", "minutes", "by"), ["genre"]),
    ],
)
def test_a_broken_shape_is_refused(path, value):
    """While it is being typed, before anything is run."""
    policy = _typed(MEDIA)
    target = policy
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value

    assert not VALIDATOR.is_valid(policy)
