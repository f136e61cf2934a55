"""Corrections: an event is taken back in every layer that was not released yet."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_bench import HOUR, ROOT, START, Bench, damage_block, make_policy_with, make_signed, opening
from discreet_agent.event import EventRefusal
from discreet_agent.tally import conclude
from discreet_contract.policy.release import verify_policy


def retraction(at, of, **changes):
    """The line that takes an event back."""
    return opening(at, fields={}, retracts=of, **changes)


def value(device, metric, start=START):
    """What a metric would report of a window if it closed now, before bounds and noise."""
    plan = device.pipeline._device.policy.plans[metric]
    return conclude(plan, device.store.tallies.load(plan.name, plan.version, start))


def reasons(outcomes):
    return [None if outcome is None else outcome.reason for outcome in outcomes]


def test_an_event_taken_back_is_nowhere(bench, device):
    """Not in the raw log, not in any tally of an open window."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a"), opening(START + 2, id="b")])
    assert device.pipeline.record([retraction(START + 3, "a")]) == [None]

    assert [event.id for event in device.store.raw.events()] == ["b"]
    assert (value(device, "openings"), value(device, "opened")) == (1, 1)
    assert device.pipeline.record([retraction(START + 3, "b")]) == [None]
    assert (value(device, "openings"), value(device, "opened")) == (0, 0)
    assert value(device, "side") == 2  # none
    assert device.store.counters()["events_retracted"] == {"": 2}


def test_in_one_line_as_well(bench, device):
    """Event and correction in one commit, in either order."""
    bench.at(START + 10)
    outcomes = device.pipeline.record([retraction(START + 3, "a"), opening(START + 1, id="a"), opening(START + 2)])
    assert outcomes == [None, None, None]
    assert value(device, "openings") == 1


def test_a_correction_that_comes_first_keeps_its_event_out(bench, device):
    """Order of arrival does not matter, nor does a restart in between."""
    bench.at(START + 10)
    assert device.pipeline.record([retraction(START + 3, "a")]) == [None]
    device = bench.open()
    assert reasons(device.pipeline.record([opening(START + 1, id="a")])) == [EventRefusal.RETRACTED]
    assert value(device, "openings") == 0


def test_twice_is_once(bench, device):
    """A repeated correction changes nothing, and a resent event stays away."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a"), opening(START + 2, id="b")])
    device.pipeline.record([retraction(START + 3, "a")])
    for _ in range(2):
        assert reasons(device.pipeline.record([retraction(START + 3, "a")])) == [EventRefusal.DUPLICATE]
        assert reasons(device.pipeline.record([opening(START + 1, id="a")])) == [EventRefusal.DUPLICATE]
        device = bench.open()
    assert value(device, "openings") == 1


def test_a_sender_takes_back_its_own_events_only(bench, device):
    """Another sender's id is another id."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a")], "player")
    assert device.pipeline.record([retraction(START + 3, "a")], "launcher") == [None]
    assert value(device, "openings") == 1
    assert device.pipeline.record([opening(START + 1, id="b")], "launcher") == [None]
    assert reasons(device.pipeline.record([opening(START + 1, id="a")], "launcher")) == [EventRefusal.RETRACTED]


def test_what_was_forgotten_cannot_be_taken_back(bench, device):
    """Its value is known to nobody any more; the answer says so."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a")])
    bench.at(START + 4 * 86_400)
    device.pipeline.forget()
    outcomes = device.pipeline.record([retraction(START + 4 * 86_400, "a")])
    assert reasons(outcomes) == [EventRefusal.RETRACT_FORGOTTEN]


def test_a_released_window_is_made_up_for_in_the_next_where_that_is_possible(bench, device):
    """A count goes down by one in the next window; what cannot make up is counted."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + second, id=f"{second}") for second in range(1, 4)])
    bench.at(START + HOUR + 61)
    device.pipeline.close_windows()
    device.pipeline.record([opening(START + HOUR + 5)] * 3)
    device.pipeline.record([retraction(START + HOUR + 60, "2")])

    assert value(device, "openings", START + HOUR) == 2
    counters = device.store.counters()
    assert counters["corrections_carried"] == {"openings": 1}
    assert counters["corrections_too_late"] == {"opened": 1, "side": 1}


OPERATIONS = st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 3)), max_size=24)


@pytest.mark.parametrize("reduction", ["sum", "mean", "min", "max", "last", "count", "active_days"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_any_order_of_events_and_corrections_gives_the_same_as_what_remains(tmp_path_factory, reduction, operations):
    """Against a naive oracle: fold what is left, in any order; restarts in between."""
    bench = Bench(tmp_path_factory.mktemp("state") / "s", policy=make_policy_with(reduction))
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 1000)
    came, gone = {}, set()
    for number, takes_back, restart in operations:
        name = f"e{number}"
        if takes_back:
            device.pipeline.record([retraction(START + 999, name)])
            gone.add(name)
        else:
            event = opening(START + 10 + number % 3, id=name, fields={"seconds": number / 2, "side": "left"})
            [outcome] = device.pipeline.record([event])
            if outcome is None:
                came[name] = event
        if restart == 0:
            device = bench.open()
            device.pipeline.forget()
    left = [event for name, event in came.items() if name not in gone]
    oracle = Bench(tmp_path_factory.mktemp("state") / "o", policy=bench.policy)
    expected = oracle.open()
    expected.pipeline.close_windows()
    oracle.at(START + 1000)
    expected.pipeline.record(left)

    assert value(device, "measured") == value(expected, "measured")
    assert sorted(event.id for event in device.store.raw.events()) == sorted(event.id for event in left)
    bench.close()
    oracle.close()


def test_a_damaged_block_stops_no_correction(bench, device):
    """What it held cannot be taken back, and the answer says so; whatever else is kept can be."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a")])
    device.pipeline.record([opening(START + 2, id="b")])
    damage_block(device)
    assert reasons(device.pipeline.record([retraction(START + 3, "a")])) == [EventRefusal.RETRACT_FORGOTTEN]
    assert device.pipeline.record([retraction(START + 3, "b")]) == [None]
    assert value(device, "openings") == 1


def test_what_cannot_be_counted_anew_stays_as_it_was(tmp_path):
    """A greatest value among damaged blocks: the correction is not applied to it, and counted."""
    bench = Bench(tmp_path / "state", policy=make_policy_with("max"))
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a", fields={"seconds": 20, "side": "left"})])
    device.pipeline.record([opening(START + 2, id="b", fields={"seconds": 30, "side": "left"})])
    damage_block(device)
    assert device.pipeline.record([retraction(START + 3, "b")]) == [None]

    assert value(device, "measured") == 60  # in halves
    counters = device.store.counters()
    assert counters["corrections_not_applied"] == {"measured": 1}
    assert counters["blocks_unreadable"] == {"door.opened": 1}
    bench.close()


@pytest.mark.parametrize("restart", [False, True])
def test_what_came_too_late_to_count_takes_nothing_from_the_next_window(bench, device, restart):
    """It was never in the released summary, so nothing has to be made up for."""
    bench.at(START + HOUR + 61)
    device.pipeline.close_windows()
    device.pipeline.record([opening(START + 6, id="late"), opening(START + HOUR + 1, id="in time")])
    device.pipeline.record([opening(START + HOUR + 5)] * 3)
    device = bench.open() if restart else device
    assert device.pipeline.record([retraction(START + HOUR + 60, "late")]) == [None]
    assert value(device, "openings", START + HOUR) == 4
    assert "corrections_carried" not in device.store.counters()
    assert device.pipeline.record([retraction(START + HOUR + 60, "in time")]) == [None]
    assert value(device, "openings", START + HOUR) == 3


def test_a_window_that_was_never_released_is_not_made_up_for(tmp_path):
    """Metrics that take turns: where it was not a metric's turn, no summary counts what is taken back."""
    kinds = ("type: count, bounds: [0, 10]", "type: category")
    edits = tuple((f"{kind}, window", f"{kind}, rotate: g, window") for kind in kinds)
    policy = verify_policy(make_signed(edits=edits), [ROOT.verify_key.encode().hex()])
    bench = Bench(tmp_path / "state", policy=policy)
    device = bench.open()
    device.pipeline.close_windows()
    for hour in range(12):
        start = START + hour * HOUR
        bench.at(start + 10)
        device.pipeline.record([opening(start + 1, id=f"{hour}")])
        bench.at(start + HOUR + 61)
        device.pipeline.close_windows()
        device.pipeline.record([opening(start + HOUR + 2), opening(start + HOUR + 3)])
        device.pipeline.record([retraction(start + HOUR + 4, f"{hour}")])
        is_released = device.store.ledger.holds("openings", start)
        assert value(device, "openings", start + HOUR) == 2 - is_released
    carried = device.store.counters()["corrections_carried"]["openings"]
    assert carried == len([entry for entry in device.store.ledger.entries() if entry.metric == "openings"]) < 12


@pytest.mark.parametrize("reduction", ["max", "last", "sum", "active_days"])
def test_many_at_once_undo_what_one_by_one_would(tmp_path, reduction):
    """Events in several blocks; some corrections name the same event, some one that never came."""
    names = ["3", "7", "11", "3", "never", "19", "never"]
    found = []
    for groups in ([names], [[name] for name in names]):
        bench = Bench(tmp_path / f"{len(groups)}", policy=make_policy_with(reduction))
        bench.at(START + 10)
        device = bench.open()
        for block in range(4):
            numbers = range(block * 5, block * 5 + 5)
            device.pipeline.record(
                [opening(START + 1, id=f"{n}", fields={"seconds": n, "side": "left"}) for n in numbers]
            )
        outcomes = []
        for group in groups:
            outcomes += device.pipeline.record([retraction(START + 3, name) for name in group])
        kept = [event.id for event in device.store.raw.events()]
        counters = {name: device.store.counters().get(name) for name in ("events_retracted", "events_refused")}
        found.append((reasons(outcomes), kept, value(device, "measured"), value(device, "openings"), counters))
        bench.close()
    assert found[0] == found[1]
    assert found[0][0] == [None, None, None, EventRefusal.DUPLICATE, None, None, EventRefusal.DUPLICATE]


def test_a_line_of_corrections_does_not_keep_others_waiting(tmp_path):
    """One that opened its block anew for each of them would take a minute, and nobody else would be heard meanwhile."""
    bench = Bench(tmp_path / "state", policy=make_policy_with("max"))
    bench.at(START + 10)
    device = bench.open()
    device.pipeline.record([opening(START + 1, id=f"{number}") for number in range(5000)])
    corrections = [retraction(START + 3, f"{number}") for number in range(5000)]
    began = time.process_time()
    assert device.pipeline.record(corrections) == [None] * 5000
    assert time.process_time() - began < 5
    assert list(device.store.raw.events()) == []
    assert value(device, "openings") == 0
    bench.close()


def test_a_carried_correction_outlasts_those_of_its_own_window(bench, device):
    """What one window makes up for another is not recounted away when its last event is taken back."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a")])
    bench.at(START + HOUR + 61)
    device.pipeline.close_windows()
    device.pipeline.record([opening(START + HOUR + 1, id="b")])
    device.pipeline.record([opening(START + HOUR + 1, id="c")])
    for name in ("a", "b", "c"):
        device.pipeline.record([retraction(START + HOUR + 2, name)])
    device.pipeline.record([opening(START + HOUR + 3), opening(START + HOUR + 4)])
    assert value(device, "openings", START + HOUR) == 1
