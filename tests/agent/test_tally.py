"""Folding a window's events: every reduction, in any order of arrival and any grouping, and taking one out again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench import START, make_policy
from discreet_agent.event import Event
from discreet_agent.reductions import LARGEST, MOST_CELLS, NOT_UNDOABLE
from discreet_agent.summarise import bound
from discreet_agent.tally import compile_tally, conclude, group_by_signal
from discreet_contract.clock import window_start
from discreet_contract.condition import holds
from discreet_contract.mechanisms.open_strings import cell_of
from discreet_contract.policy.model import NumberField, TextField

POLICY = make_policy().policy
SIGNAL = POLICY.signals["door.opened"]
PLANS = make_policy().plans


def plan_for(reduction, field="", *, bounds=(-1000, 1000), where=None):
    """A plan for any reduction, on the grid of half seconds."""
    kind = {"any": "binary", "most_frequent": "category", "count": "count", "active_days": "count"}.get(
        reduction, "mean"
    )
    template = PLANS["side"] if kind == "category" else PLANS["openings"]
    metric = msgspec.structs.replace(template.metric, per_device={reduction: field}, type=kind, where=where)
    values = {name: getattr(template, name) for name in template.__slots__}
    changed = (
        {"metric": metric}
        if kind == "category"
        else {"metric": metric, "grid": 0.5, "low": bounds[0], "high": bounds[1]}
    )
    return type(template)(**(values | changed))


def event(seconds=0.0, side="left", at=START, **fields):
    return Event("door.opened", "1-1-0", at * 1000, {"seconds": seconds, "side": side} | fields)


def stored(state):
    """The state as the store gives it back."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state))


def fold_one_by_one(plan, events, state=None):
    tally = compile_tally(plan, SIGNAL)
    for item in events:
        state = stored(tally.fold(state, [item]))
    return state


def run(plan, events):
    return conclude(plan, fold_one_by_one(plan, events))


EVENTS = [event(4.5, "right", START), event(1.0, "left", START + 90_000), event(-3.0, "right", START + 5)]


@pytest.mark.parametrize(
    ("reduction", "field", "expected"),
    [
        ("any", "", 1),
        ("count", "", 3),
        ("active_days", "", 2),
        ("sum", "seconds", 5),  # 2.5 s on a grid of 0.5 s
        ("mean", "seconds", 2),  # 0.83 s → 1.67 steps
        ("min", "seconds", -6),
        ("max", "seconds", 9),
        ("last", "seconds", 2),
        ("most_frequent", "side", 1),
    ],
)
def test_each_reduction(reduction, field, expected):
    """Three events, one integer in the raw unit's grid."""
    assert run(plan_for(reduction, field), EVENTS) == expected


@pytest.mark.parametrize("reduction", ["any", "count", "active_days", "sum", "mean", "min", "max", "last"])
def test_a_silent_device_says_zero(reduction):
    """Presence of activity does not show."""
    assert run(plan_for(reduction, "seconds"), []) == 0


def test_a_silent_device_has_no_category():
    """It says `none`, the implicit last one."""
    plan = plan_for("most_frequent", "side")
    assert plan.mechanism.labels[run(plan, [])] == "none"


def test_ties_go_to_the_value_declared_first():
    """Not to the one that came first."""
    assert run(plan_for("most_frequent", "side"), [event(side="right"), event(side="left")]) == 0


@given(st.permutations(EVENTS * 2), st.sampled_from(["sum", "mean", "min", "max", "last", "count", "active_days"]))
def test_order_of_arrival_does_not_matter(events, reduction):
    """Late and early events land in the same state."""
    plan = plan_for(reduction, "" if reduction in {"count", "active_days"} else "seconds")
    assert run(plan, events) == run(plan, sorted(events, key=lambda e: (e.time_ms, str(e.fields))))


@given(st.integers(-(10**6), 10**6))
def test_bound_keeps_every_value_in_range(value):
    """The contribution of one device is limited before anything is drawn."""
    plan = PLANS["openings"]
    assert 0 <= bound(plan, value).value <= 10
    if 0 <= value <= 10:
        assert bound(plan, value).value == value


def test_where_and_a_missing_field_decide_what_concerns_a_metric():
    """An event of another signal, or without the field, or that fails `where`, is not counted."""
    plan = plan_for("sum", "forced", where={">": [{"var": "seconds"}, 2]})
    tally = compile_tally(plan, SIGNAL)
    start = window_start(START, plan.metric.window_seconds)
    assert tally.window_of(event(5.0)) is None
    assert tally.window_of(event(5.0, forced=True)) == start
    assert tally.window_of(event(1.0, forced=True)) is None
    assert tally.window_of(Event("door.closed", "1-1-0", START * 1000, {"seconds": 5.0, "forced": True})) is None


def test_a_value_that_is_no_longer_declared_is_not_counted():
    """Events stored under an earlier policy may hold one."""
    assert compile_tally(plan_for("most_frequent", "side"), SIGNAL).window_of(event(side="middle")) is None


def test_a_bounded_value_does_not_print_itself():
    """P1."""
    assert "7" not in repr(bound(PLANS["openings"], 7))


# --- groups: the same as one by one, and as the plain definition --------------------------------------------------

WHERE = {"and": [{">": [{"var": "seconds"}, -2]}, {"!": [{"==": [{"var": "forced"}, True]}]}]}
FIELDS = {"any": "", "count": "", "active_days": "", "most_frequent": "side"}
ALL = ["any", "count", "active_days", "sum", "mean", "min", "max", "last", "most_frequent"]

some_events = st.lists(
    st.builds(
        lambda seconds, side, at, forced, is_other: Event(
            "door.closed" if is_other else "door.opened",
            "1-1-0",
            at,
            {"seconds": seconds, "side": side} | ({} if forced is None else {"forced": forced}),
        ),
        st.floats(-10, 100) | st.integers(-10, 100),
        st.sampled_from(["left", "right"]),
        st.integers(START * 1000, (START + 3 * 3600) * 1000),
        st.sampled_from([None, False, True]),
        st.booleans(),
    ),
    max_size=30,
)


def plainly(plan, event):
    """What the reading field comes to, as docs and policy say it."""
    value = event.fields[plan.metric.field]
    return SIGNAL.fields["side"].values.index(value) if isinstance(value, str) else round(float(value) / plan.grid)


def defined(plan, events):
    """Window → integer, by the words of each reduction."""
    metric, windows = plan.metric, {}
    for item in events:
        if item.signal == metric.from_ and (metric.where is None or holds(metric.where, item.fields)):
            windows.setdefault(window_start(item.time_ms // 1000, metric.window_seconds), []).append(item)
    return {start: reduced(plan, part) for start, part in windows.items()}


def reduced(plan, events):
    values = [plainly(plan, item) for item in events] if plan.metric.field else []
    match plan.metric.reduction:
        case "any":
            return 1
        case "count":
            return len(events)
        case "active_days":
            return len({item.time_ms // 86_400_000 for item in events})
        case "sum":
            return sum(values)
        case "mean":
            return (2 * sum(values) + len(values)) // (2 * len(values))
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "last":
            return max((item.time_ms, value) for item, value in zip(events, values, strict=True))[1]
    return min(set(values), key=lambda value: (-values.count(value), value))


def folded(plan, groups):
    """Window → state, where each group came with one commit."""
    tally, states = compile_tally(plan, SIGNAL), {}
    for group in groups:
        parts = group_by_signal(group)
        if tally.signal in parts:
            for start, events in tally.concerned(parts[tally.signal]):
                states[start] = stored(tally.fold(states.get(start), events))
    return states


@given(some_events, st.integers(1, 10), st.sampled_from(ALL), st.sampled_from([None, WHERE]))
def test_groups_of_any_size_give_what_the_definition_says(events, size, reduction, where):
    """However events are cut into commits, each window's integer is that of the reduction's own words."""
    plan = plan_for(reduction, FIELDS.get(reduction, "seconds"), where=where)
    groups = [events[first : first + size] for first in range(0, len(events), size)]
    states = folded(plan, groups)
    assert {start: conclude(plan, state) for start, state in states.items()} == defined(plan, events)
    assert states == folded(plan, [[item] for item in events])
    assert states == folded(plan, [events])


@given(some_events, st.sampled_from(["most_frequent", "last"]))
def test_texts_are_counted_by_their_cell(events, reduction):
    """A string is hashed once for each group, not once for each event."""
    plan = plan_for(reduction, "side")
    signal = msgspec.structs.replace(SIGNAL, fields=SIGNAL.fields | {"side": TextField()})
    salted = msgspec.structs.replace(plan.metric, salt="for tests", type="open")
    values = {name: getattr(plan, name) for name in plan.__slots__} | {"metric": salted}
    tally = compile_tally(type(plan)(**values), signal)
    opened = [item for item in events if item.signal == "door.opened"]
    if opened:
        state = tally.fold(None, opened)
        counted = dict(state) if reduction == "most_frequent" else {state[1]: 1}
        assert set(counted) <= {cell_of(side, "for tests") for side in ("left", "right")}


# --- taking one out again -----------------------------------------------------------------------------------------


@given(some_events, st.data(), st.sampled_from(ALL), st.sampled_from([None, WHERE]))
def test_what_was_folded_is_unfolded_again_or_said_not_to_be(events, data, reduction, where):
    """Without any one of its events the state concludes as if that event had never come."""
    plan = plan_for(reduction, FIELDS.get(reduction, "seconds"), where=where)
    tally = compile_tally(plan, SIGNAL)
    concerned = [item for item in events if tally.window_of(item) is not None]
    if not concerned:
        return
    taken = data.draw(st.integers(0, len(concerned) - 1))
    rest = concerned[:taken] + concerned[taken + 1 :]
    without = tally.unfold(fold_one_by_one(plan, concerned), concerned[taken])
    if without is NOT_UNDOABLE:
        assert reduction in {"min", "max", "last"}
        return
    assert conclude(plan, stored(without)) == conclude(plan, fold_one_by_one(plan, rest))


@given(some_events, st.sampled_from(["any", "active_days", "mean", "most_frequent"]))
def test_taking_out_every_event_leaves_a_silent_device(events, reduction):
    """Nothing is left that would tell that there was something; a count or sum is 0, which carried corrections need."""
    plan = plan_for(reduction, FIELDS.get(reduction, "seconds"))
    tally, state = compile_tally(plan, SIGNAL), None
    concerned = [item for item in events if tally.window_of(item) is not None]
    state = fold_one_by_one(plan, concerned)
    for item in concerned:
        state = tally.unfold(state, item)
    assert state is None


@pytest.mark.parametrize("reduction", ALL)
def test_nothing_is_taken_out_of_no_state(reduction):
    """The window knows nothing of that event."""
    assert compile_tally(plan_for(reduction, FIELDS.get(reduction, "seconds")), SIGNAL).unfold(None, EVENTS[0]) is (
        NOT_UNDOABLE
    )


def test_the_greatest_and_the_latest_cannot_be_taken_out_but_others_can():
    """An event that does not stand out leaves no trace in the state."""
    first, second, third = EVENTS  # 4.5 s at 0, 1 s at 90,000, -3 s at 5
    for reduction, stands_out in (("max", first), ("last", second), ("min", third)):
        tally = compile_tally(plan_for(reduction, "seconds"), SIGNAL)
        state = tally.fold(None, EVENTS)
        for item in EVENTS:
            assert tally.unfold(state, item) == (NOT_UNDOABLE if item is stands_out else state)


def test_states_of_older_versions_are_read_but_not_undone():
    """They say that there was an event, or on which days, not how many: they go on as they are."""
    at_least_one, days = plan_for("any"), plan_for("active_days")
    day = START // 86_400
    for plan, old, number in ((at_least_one, 1, 1), (days, [day, day + 7], 2)):
        tally = compile_tally(plan, SIGNAL)
        assert conclude(plan, old) == number
        assert conclude(plan, stored(tally.fold(old, [EVENTS[0]]))) == number
        assert tally.unfold(old, EVENTS[0]) is NOT_UNDOABLE
        assert tally.unfold(tally.fold(old, [EVENTS[0]]), EVENTS[0]) is NOT_UNDOABLE
    tally = compile_tally(days, SIGNAL)
    state = stored(tally.fold([day], [EVENTS[1]]))
    assert conclude(days, state) == 2
    assert conclude(days, tally.unfold(state, EVENTS[1])) == 1


@given(
    st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9), st.sampled_from(["sum", "mean", "min", "max", "last"])
)
def test_no_run_of_legal_events_makes_a_state_that_cannot_be_stored(seconds, reduction):
    """Totals stop at the limit and stay there, because what they lost is not known."""
    wide = msgspec.structs.replace(SIGNAL, fields={"seconds": NumberField(min=-1e300, max=1e300, grid=0.5)})
    tally = compile_tally(plan_for(reduction, "seconds"), wide)
    state = stored(tally.fold(None, [event(value) for value in seconds]))
    one_by_one = None
    for value in seconds:
        one_by_one = stored(tally.fold(one_by_one, [event(value)]))
    assert state == one_by_one
    total = state[0] if reduction == "mean" else state
    if reduction in {"sum", "mean"} and abs(total) == LARGEST:
        assert tally.unfold(state, event(seconds[-1])) is NOT_UNDOABLE


def test_a_full_list_of_values_is_not_undone():
    """Which values found no place is not known."""
    plan = plan_for("most_frequent", "side")
    tally = compile_tally(plan, SIGNAL)
    full = {1000 + cell: 1 for cell in range(MOST_CELLS - 1)} | {0: 2}
    assert tally.fold(full, [event(side="right")]) == full
    assert tally.fold(full, [event(side="left")]) == full | {0: 3}
    assert tally.unfold(full, event(side="left")) is NOT_UNDOABLE
