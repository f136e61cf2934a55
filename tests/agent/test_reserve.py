"""Which metric gets the last of the budget is settled when its window begins."""

from device_bench import HOUR, START, Bench, make_policy, opening
from discreet_agent.status import explain_refusal
from discreet_contract.accounting import CapName

# One metric of two hours beside two of one hour.
LONG_SIDE = (
    ("{most_frequent: side}, type: category, window: 1h", "{most_frequent: side}, type: category, window: 2h"),
)


def begun(bench, at=START, **policy):
    bench.policy = make_policy(**policy)
    device = bench.open()
    bench.at(at)
    device.pipeline.close_windows()
    return device


def charged(device):
    return [(entry.metric, (entry.window_start - START) // HOUR) for entry in device.store.ledger.entries()]


def test_a_long_window_is_not_crowded_out_by_short_ones_that_close_before_it(bench):
    """It began with them, so its charge was set aside with theirs."""
    device = begun(bench, cap=3.0, edits=LONG_SIDE)
    assert len(device.store.reservations.debits()) == 3
    bench.at(START + 2 * HOUR + 60)
    device.pipeline.close_windows()
    assert charged(device) == [("opened", 0), ("openings", 0), ("side", 0)]
    assert device.store.counters()["releases_refused"] == {"BUDGET_PER_28_DAYS": 2}
    assert device.store.reservations.debits() == []


def test_the_order_of_closing_and_the_data_change_nothing(tmp_path):
    """A device that looks every minute, one that looks once, one that was restarted, one that is busy: all the same."""
    outcomes = []
    for name, minutes in (("often", 20), ("once", 360), ("restarted", 60), ("busy", 30)):
        bench = Bench(tmp_path / name)
        device = begun(bench, cap=7.5, edits=LONG_SIDE)
        for minute in range(minutes, 361, minutes):
            if name == "restarted":
                device = bench.open()
            bench.at(START + 60 * minute + 60)
            if name == "busy":
                device.pipeline.record([opening(START + 60 * minute)] * 5)
            device.pipeline.close_windows()
        outcomes.append(sorted(charged(device)))
        bench.close()
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert len(outcomes[0]) == 7


def test_a_refusal_is_said_when_the_window_begins_and_counted_when_it_ends(bench):
    """P9, before anybody waits for the report."""
    device = begun(bench, cap=3.5)
    bench.at(START + HOUR + 1)
    device.pipeline.close_windows()
    metric, window, refusal = device.store.ledger.last_refusal()
    assert (metric, window, refusal.cap) == ("opened", START + HOUR, CapName.PER_28_DAYS)
    said = explain_refusal(metric, window, refusal)
    for part in ("asked ε 1", "spent 3", "reserved", "left 0.5", "per_28_days", "resets for windows from 2023-12-13"):
        assert part in said
    assert "releases_refused" not in device.store.counters()
    bench.at(START + 2 * HOUR + 60)
    device.pipeline.close_windows()
    assert device.store.counters()["releases_refused"] == {"BUDGET_PER_28_DAYS": 3}


def test_what_was_reserved_and_never_charged_is_freed_past_the_horizon(bench):
    """A device that slept through it."""
    device = begun(bench)
    assert len(device.store.reservations.debits()) == 3
    bench.at(START + 72 * HOUR + 60)
    device.pipeline.close_windows()
    left = {debit.window_start for debit in device.store.reservations.debits()}
    assert left == {START + 72 * HOUR}
    assert START not in {entry.window_start for entry in device.store.ledger.entries()}


BOTH_OPEN = START + HOUR + 30  # the lateness of the first window is not over, and the second has begun


def test_a_metric_that_left_the_policy_gives_back_what_it_reserved(bench):
    """At once, and what it crowded out is decided anew."""
    device = begun(bench, cap=4.0)
    bench.at(BOTH_OPEN)
    device.pipeline.close_windows()
    assert device.store.ledger.last_refusal()[:2] == ("openings", START + HOUR)
    device.pipeline.adopt(make_policy(cap=4.0, version=2, edits=(("  opened: {from", "  z: {from"),)))
    device.pipeline.close_windows()
    assert device.store.ledger.last_refusal() is None
    bench.at(START + 2 * HOUR + 60)
    device.pipeline.close_windows()
    assert charged(device) == [("openings", 0), ("side", 0), ("openings", 1), ("side", 1)]


def test_a_lower_cap_holds_for_windows_that_are_open(bench):
    """What was reserved under the old policy is no right under the new one; a restart in between changes nothing."""
    device = begun(bench)
    bench.at(BOTH_OPEN)
    device.pipeline.close_windows()
    assert len(device.store.reservations.debits()) == 6
    device.pipeline.adopt(make_policy(cap=4.0, version=2))
    device.pipeline.close_windows()
    assert len(device.store.reservations.debits()) == 4
    bench.policy = make_policy(cap=4.0, version=2)
    device = bench.open()
    bench.at(START + 2 * HOUR + 60)
    device.pipeline.close_windows()
    assert charged(device) == [("opened", 0), ("openings", 0), ("side", 0), ("opened", 1)]


def test_reserved_is_not_spent(bench):
    """The ledger holds charges only."""
    device = begun(bench)
    assert device.store.ledger.debits() == []
