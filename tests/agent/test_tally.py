"""Folding a window's events: every reduction, in any order of arrival."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench import START, make_policy
from discreet_agent.event import Event
from discreet_agent.summarise import bound
from discreet_agent.tally import concerns, conclude, fold

POLICY = make_policy().policy
SIGNAL = POLICY.signals["door.opened"]
PLANS = make_policy().plans


def plan_for(reduction, field="", *, bounds=(-1000, 1000)):
    """A plan for any reduction, on the grid of half seconds."""
    kind = {"any": "binary", "most_frequent": "category", "count": "count", "active_days": "count"}.get(
        reduction, "mean"
    )
    template = PLANS["side"] if kind == "category" else PLANS["openings"]
    metric = msgspec.structs.replace(template.metric, per_device={reduction: field}, type=kind)
    values = {name: getattr(template, name) for name in template.__slots__}
    changed = (
        {"metric": metric}
        if kind == "category"
        else {"metric": metric, "grid": 0.5, "low": bounds[0], "high": bounds[1]}
    )
    return type(template)(**(values | changed))


def event(seconds=0.0, side="left", at=START, **fields):
    return Event("door.opened", "1-1-0", at * 1000, {"seconds": seconds, "side": side} | fields)


def run(plan, events):
    state = None
    for item in events:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(fold(plan, SIGNAL, state, item)))  # as the store keeps it
    return conclude(plan, state)


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
    metric = msgspec.structs.replace(plan_for("sum", "forced").metric, where={">": [{"var": "seconds"}, 2]})
    assert not concerns(metric, event(5.0))
    assert concerns(metric, event(5.0, forced=True))
    assert not concerns(metric, event(1.0, forced=True))
    assert not concerns(msgspec.structs.replace(metric, from_="door.closed"), event(5.0, forced=True))


def test_a_bounded_value_does_not_print_itself():
    """P1."""
    assert "7" not in repr(bound(PLANS["openings"], 7))
