"""Any order, any grouping, any corrections: a feature's buckets give what all events at once give."""

import math

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discreet_agent.event import Event
from discreet_agent.features.definition import compile_features
from discreet_agent.features.reading import Buckets, read_feature
from discreet_agent.features.states import NOT_UNDOABLE
from discreet_agent.personal.values import Fallback
from naive_features import naive_value
from personal_bench import FEATURES, NOW_MS, personal_policy

POLICY = personal_policy().policy
DEFINITIONS = compile_features(POLICY)
ALWAYS = [(0, NOW_MS * 2)]
ORDER = ("news", "drama", "sport")

FIELDS = st.fixed_dictionaries(
    {"genre": st.sampled_from(ORDER), "seconds": st.integers(0, 3600) | st.floats(0, 3600)},
    optional={"evening": st.booleans(), "title": st.sampled_from(["a", "b", "c", "d", "e"])},
)
AGES = st.one_of(st.integers(-200, 7200), st.integers(0, 12 * 86_400), st.integers(0, 400 * 86_400))
EVENTS = st.lists(st.tuples(AGES, st.integers(0, 999), FIELDS, st.booleans()), max_size=40)


def fold(definition, buckets, events):
    parts = {}
    for event in definition.chosen(events):
        parts.setdefault(definition.grid.bucket(event.time_ms), []).append(event)
    for start, part in parts.items():
        for key, some in definition.by_key(part).items():
            states = buckets.setdefault(start, {})
            state = definition.aggregate.add(states.get(key), start, some)
            states[key] = msgspec.msgpack.decode(msgspec.msgpack.encode(state))


def unfold(definition, buckets, event, kept):
    for some in definition.by_key(definition.chosen([event])).items():
        key, start = some[0], definition.grid.bucket(event.time_ms)
        if not some[1]:
            continue
        state = definition.aggregate.remove(buckets[start][key], start, event)
        if state is NOT_UNDOABLE:
            again = {}
            fold(definition, again, [e for e in kept if definition.grid.bucket(e.time_ms) == start])
            state = again[start][key]
        if state is None:
            del buckets[start][key]
            if not buckets[start]:
                del buckets[start]
        else:
            buckets[start][key] = state


@pytest.mark.parametrize("name", sorted(FEATURES))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_streamed_equals_recomputed(name, data):
    """In any order, in any groups, with any of them taken back in the end."""
    definition = DEFINITIONS[name]
    drawn = data.draw(EVENTS)
    events = [
        Event("playback.stopped", "1-0-0", NOW_MS - age * 1000 + ms, fields, id=str(index))
        for index, (age, ms, fields, _) in enumerate(drawn)
    ]
    retracted = [event for event, (*_, is_retracted) in zip(events, drawn, strict=True) if is_retracted]
    buckets = {}
    coming = data.draw(st.permutations(events))
    while coming:
        size = data.draw(st.integers(1, len(coming)))
        fold(definition, buckets, coming[:size])
        coming = coming[size:]
    kept = list(events)
    for event in retracted:
        kept.remove(event)
        unfold(definition, buckets, event, kept)
    read = read_feature(definition, Buckets(buckets), ALWAYS, NOW_MS)
    grid = definition.grid
    said = [(event.time_ms, event.fields) for event in kept]
    expected = naive_value(FEATURES[name], grid.width, grid.span, said, NOW_MS, ORDER)
    if expected is None:
        assert (read.value, read.fallback) == (None, Fallback.UNAVAILABLE)
    elif "quantile" in FEATURES[name]:
        assert math.isclose(read.value, expected, rel_tol=0.0101, abs_tol=3600 * 1e-6)
    elif isinstance(expected, dict):
        assert list(read.value) == list(expected) or sorted(read.value.values()) == pytest.approx(
            sorted(expected.values()), abs=1e-6
        )
        assert list(read.value.values()) == pytest.approx(list(expected.values()), rel=1e-9, abs=1e-6)
    elif isinstance(expected, str | bool):
        assert read.value == expected
    else:
        assert read.value == pytest.approx(expected, rel=1e-9, abs=1e-6)
