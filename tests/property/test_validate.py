"""Whatever a sender writes: no exception, nothing beyond what is declared, and no value in a refusal or its shape."""

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from device_bench import START, make_policy
from discreet_agent.event import Event, EventLine, Refused, Shape
from discreet_agent.quarantine import shape_of
from discreet_agent.receive.lines import Query, decode_line
from discreet_agent.validate import Validator

NOW = START * 1000
DECLARED = {
    "seconds": st.one_of(st.floats(-10, 100), st.integers(-10, 100)),
    "side": st.sampled_from(["left", "right"]),
    "forced": st.booleans(),
    "note": st.text(min_size=1, max_size=8),
}
EDITS = (("required: false}\n", "required: false}\n      note: {type: text, max_length: 8, required: false}\n"),)
POLICIES = [
    make_policy(edits=EDITS + edits).policy for edits in ((), (("lateness: 1m", "lateness: 1m\nundeclared: refuse"),))
]
MARK = "⌘planted"  # in every text that a sender makes up; stands in no policy
marked = st.text(max_size=6).map(lambda text: MARK + text)
large = st.integers(10**14, 10**30).flatmap(lambda n: st.sampled_from([n, -n, n + 0.5]))
anything = st.one_of(st.booleans(), marked, large, st.floats())
lines = st.fixed_dictionaries(
    {
        "signal": st.one_of(st.sampled_from(["door.opened"] * 3), marked),
        "version": st.one_of(st.sampled_from(["1-1-0", "1-0-0"] * 3), marked),
        "time": st.one_of(st.just(NOW), st.integers(-(2**63), 2**63 - 1), marked, st.datetimes().map(str)),
        "fields": st.one_of(
            st.fixed_dictionaries({}, optional=DECLARED),
            st.dictionaries(st.one_of(st.sampled_from(list(DECLARED)), marked), anything, max_size=6),
        ),
    },
    optional={"id": st.one_of(marked, st.just("")), "retracts": st.one_of(marked, st.just(""))},
)


def decoded(line):
    """As decoders make it, of JSON or of forms that know infinity; None where they already refuse it."""
    try:
        return msgspec.convert(line, EventLine)
    except msgspec.ValidationError:
        return None


@given(st.sampled_from(POLICIES), lines)
@example(POLICIES[0], {"signal": "door.opened", "version": "1-1-0", "time": "0001-01-01T00:00:00+23:59", "fields": {}})
def test_a_line_becomes_an_event_within_its_declaration_or_a_refusal_and_shape_without_values(policy, line):
    """Minimisation and P1 for anything that the decoder lets through."""
    given_line = decoded(line)
    if given_line is None:
        return
    checked = Validator(policy).check(given_line, NOW, "porter")

    if isinstance(checked, Refused):
        said = repr(checked) + repr(shape_of(given_line, checked, "porter", policy.signals))
        assert MARK not in said
        assert not any(str(value) in said for value in line["fields"].values() if len(str(value)) > 10)
        return
    assert isinstance(checked, Event)
    assert MARK not in repr(checked)
    signal = policy.signals[checked.signal]
    assert set(checked.fields) <= set(signal.fields)
    assert all(msgspec.msgpack.decode(msgspec.msgpack.encode(value)) == value for value in checked.fields.values())
    if checked.retracts is None:
        assert checked.fields.items() >= {(name, line["fields"][name]) for name in checked.fields}
        assert -10 <= checked.fields["seconds"] <= 100
        assert checked.fields["side"] in {"left", "right"}
    else:
        assert checked.fields == {}


@given(st.sampled_from(POLICIES), st.binary(max_size=200))
def test_any_bytes_become_an_answer(policy, content):
    """The whole way of a line, from bytes to a verdict."""
    taken = decode_line(content)
    if isinstance(taken, Query):
        return
    for item in taken:
        checked = item if isinstance(item, Refused) else Validator(policy).check(item, NOW)
        assert isinstance(checked, Event | Refused)
        if isinstance(checked, Refused):
            assert isinstance(shape_of(item, checked, "", policy.signals), Shape)
