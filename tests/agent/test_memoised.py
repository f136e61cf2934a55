"""Memoised metrics on a device: drawn once, repeated, paid for once, whatever the values do."""

import msgspec
import pytest

from device_bench import HOUR, START, Bench, MachineClock, make_policy, opening
from discreet_agent.consent import Word, privacy_class, write_word
from discreet_agent.schedule import draw_number
from discreet_contract.ledger_audit import Flaw, verify_ledger

MEMOISED = ("{most_frequent: side}, type: category", "{most_frequent: side}, type: category, longitudinal: memoised")
REDRAWN = (MEMOISED[0], f"{MEMOISED[1]}, redraw: 3h, draws: 2")
PERIOD = START // (3 * HOUR) * 3 * HOUR  # the first date of a draw at or before START


def run(bench, device, hours, sides):
    """Close so many one-hour windows, the device's side in each as given."""
    device.pipeline.close_windows()
    for hour in range(hours):
        bench.at(PERIOD + hour * HOUR + 30)
        side = sides[hour % len(sides)]
        device.pipeline.record([opening(PERIOD + hour * HOUR + 10, fields={"seconds": 1, "side": side})])
        bench.at(PERIOD + (hour + 1) * HOUR + 60)
        device.pipeline.close_windows()


@pytest.fixture
def memoised(bench):
    """A device whose metric `side` is memoised, from the beginning of a period on."""

    def opened(edit, **changes):
        bench.policy = make_policy(edits=(edit,), **changes)
        bench.at(PERIOD)
        return bench.open()

    return opened


def charges(device, metric="side"):
    return [entry.nano for entry in device.store.ledger.entries() if entry.metric == metric]


def responses(device):
    rows = device.store.connection.execute("SELECT draw, window_start, response FROM memos ORDER BY draw")
    return rows.fetchall()


def test_a_lifetime_is_charged_at_first_use_and_then_nothing(bench, memoised):
    """Each window has its report and its row in the ledger; the charges never depend on the values."""
    device = memoised(MEMOISED)
    run(bench, device, 6, ["left", "right"])
    cost = bench.policy.plans["side"].mechanism.charge()

    assert charges(device) == [cost, 0, 0, 0, 0, 0]
    assert device.store.counters()["reports_made"]["side"] == 6
    assert len(responses(device)) == 1


def test_the_response_survives_a_restart(bench, memoised):
    """Drawing it again would reveal more than was paid for."""
    device = memoised(MEMOISED)
    run(bench, device, 2, ["left"])
    before = responses(device)
    again = bench.open()
    run(bench, again, 4, ["right"])

    assert responses(again) == before
    assert charges(again)[1:] == [0, 0, 0]


def test_it_is_drawn_anew_at_the_policys_dates_and_no_more_often_than_paid_for(bench, memoised):
    """Two draws in a lifetime, three hours apart; the second one serves for ever."""
    device = memoised(REDRAWN)
    run(bench, device, 10, ["left", "right"])

    assert [(draw, start - PERIOD) for draw, start, _ in responses(device)] == [(0, 0), (1, 3 * HOUR)]
    assert sum(charges(device)) == bench.policy.plans["side"].mechanism.charge()


def test_a_clock_that_was_ahead_leads_to_no_further_draw(bench):
    """The metric leaves the policy and comes back while the clock is right again, before its first window."""
    listed = make_policy(edits=(REDRAWN,))
    gone = make_policy(version=2, edits=(("\n  side:", "\n  another:"),))
    again = make_policy(version=3, edits=(REDRAWN,))
    bench.clock, bench.policy = MachineClock(), listed
    bench.clock.set_wall(20 * 24 * HOUR)  # believed at a boot
    device = bench.open()
    device.pipeline.learn_signed_time(START * 1000)
    device.pipeline.close_windows()
    bench.clock.wait(3 * HOUR)
    device.pipeline.close_windows()
    first = responses(device)[0][1]
    bench.clock.set_wall(0)
    for policy in (gone, again):
        device.pipeline.adopt(policy)
        device.pipeline.close_windows()
    bench.clock.wait(12 * HOUR)
    device.pipeline.close_windows()

    assert min(entry.window_start for entry in device.store.ledger.entries() if entry.metric == "side") < first
    assert [(draw, start) for draw, start, _ in responses(device)] == [(0, first)]


def test_what_is_paid_for_is_reported_when_the_cap_is_reached(bench, memoised):
    """The other metrics are refused from the second window on."""
    device = memoised(MEMOISED, cap=3.0)
    run(bench, device, 3, ["left"])

    assert [len(charges(device, metric)) for metric in ("opened", "side", "openings")] == [1, 3, 1]


def test_what_is_paid_for_is_reported_under_a_cap_lowered_below_what_is_spent(bench, memoised):
    """It asks for nothing, so no cap refuses it; an auditor says the same."""
    device = memoised(MEMOISED, cap=7.0)
    run(bench, device, 3, ["left"])
    before, after = bench.policy, make_policy(edits=(MEMOISED,), cap=3.0, version=2)
    device.pipeline.adopt(after)
    bench.at(PERIOD + 5 * HOUR + 60)
    device.pipeline.close_windows()

    assert [len(charges(device, metric)) for metric in ("opened", "side", "openings")] == [3, 5, 3]
    known = {policy.digest: policy.policy for policy in (before, after)}
    assert verify_ledger(device.store.ledger.entries(), known) == []


@pytest.mark.parametrize(("hours", "expected"), [(-300, 0), (-1, 0), (0, 0), (2, 0), (3, 1), (5, 1), (6, 1), (300, 1)])
def test_which_draw_serves_a_window(hours, expected):
    """By the calendar alone."""
    plan = make_policy(edits=(REDRAWN,)).plans["side"]
    assert draw_number(plan, PERIOD, PERIOD + hours * HOUR) == expected


def test_a_clock_that_ran_ahead_buys_no_draw_for_the_windows_before_it(tmp_path):
    """Put right, and consented to anew, the device reports windows before its first one: from the first response."""
    clock = MachineClock(true_ms=PERIOD * 1000, booted_ms=PERIOD * 1000)
    bench = Bench(tmp_path / "state", clock=clock, policy=make_policy(edits=(REDRAWN,)))
    clock.set_wall(20 * HOUR)
    device = bench.open()
    device.pipeline.learn_signed_time(PERIOD * 1000)
    for ahead in (20 * HOUR, 0):
        clock.set_wall(ahead)
        write_word(bench.folder, Word("on", clock.now_ms(), privacy_class(bench.policy.policy)))
        for _ in range(12):
            device.pipeline.close_windows()
            clock.wait(HOUR)

    starts = [entry.window_start for entry in device.store.ledger.entries() if entry.metric == "side"]
    assert min(starts) < starts[0]
    assert [draw for draw, _, _ in responses(device)] == [0, 1]
    bench.close()


def test_an_auditor_finds_the_lifetime_charged_once_and_not_again(bench, memoised):
    """A second charge, or none at all, would be a finding."""
    device = memoised(MEMOISED)
    run(bench, device, 3, ["left"])
    entries = list(device.store.ledger.entries())
    policies = {bench.policy.digest: bench.policy.policy}
    side = [number for number, entry in enumerate(entries) if entry.metric == "side"]
    again = [*entries]
    again[side[1]] = msgspec.structs.replace(entries[side[1]], nano=entries[side[0]].nano)

    assert verify_ledger(entries, policies) == []
    assert Flaw.CHARGE in {finding.flaw for finding in verify_ledger(again, policies)}
