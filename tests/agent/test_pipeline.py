"""Events in, windows closing, receipts: over a real database."""

from dataclasses import replace

import pytest
from msgspec import structs

from device_bench import AGGREGATOR, HOUR, START, MachineClock, make_policy, opening
from discreet_agent.consent import Word, privacy_class, write_word
from discreet_agent.event import EventRefusal
from discreet_agent.seal import valid_key
from discreet_agent.status import describe_sent
from discreet_contract.envelope import encode_key_id, unseal
from discreet_contract.policy.model import AggregatorKey
from discreet_contract.wire import Receipt, Verdict, decode_report, receipt_tag

END = START + HOUR
CLOSING = END + 60  # lateness


def reports(device):
    keys = {encode_key_id("test"): AGGREGATOR}
    return [decode_report(unseal(row.envelope, keys)) for row in device.store.outbox.due(2**60, 1000)]


def receipts(device, verdict=Verdict.ACCEPTED):
    rows = device.store.outbox.due(2**60, 1000)
    return [Receipt(row.report_id, verdict, receipt_tag(row.receipt_key, row.report_id, verdict)) for row in rows]


def test_events_are_acknowledged_one_by_one(bench, device):
    """None for what is on disk, a refusal for the rest, in order."""
    bench.at(START + 10)
    outcomes = device.pipeline.record([opening(START + 1), opening(START + 2, signal="x.y"), opening(START + 3)])

    assert [outcome and outcome.reason for outcome in outcomes] == [None, EventRefusal.UNKNOWN_SIGNAL, None]
    assert [event.time_ms for event in device.store.raw.events()] == [(START + 1) * 1000, (START + 3) * 1000]
    assert device.store.counters()["events_accepted"] == {"": 2}
    assert device.store.counters()["events_refused"] == {"UNKNOWN_SIGNAL": 1}


def test_fields_that_nobody_declared_are_counted_by_signal(bench, device):
    """Never by a name that a sender made up."""
    bench.at(START + 10)
    planted = {"seconds": 1, "side": "left", "planted": 1, "planted too": 2}
    device.pipeline.record([opening(START + 1, fields=planted), opening(START + 2, signal="x.y", fields=planted)])

    assert device.store.counters()["fields_dropped"] == {"door.opened": 2}


def test_an_event_id_is_taken_once(bench, device):
    """Also within one batch, also after a restart."""
    bench.at(START + 10)
    first = device.pipeline.record([opening(START + 1, id="a"), opening(START + 1, id="a"), opening(START + 1, id="b")])
    second = bench.open().pipeline.record([opening(START + 1, id="a")])

    assert [outcome and outcome.reason for outcome in [*first, *second]] == [
        None,
        EventRefusal.DUPLICATE,
        None,
        EventRefusal.DUPLICATE,
    ]


def test_a_window_gives_one_report_a_metric(bench, device):
    """Once, however often the timer asks and the process restarts."""
    bench.at(CLOSING)
    assert device.pipeline.close_windows() == 3
    assert device.pipeline.close_windows() == 0
    assert bench.open().pipeline.close_windows() == 0


def test_a_window_stays_open_until_its_lateness_is_over(bench, device):
    """The last second counts."""
    bench.at(CLOSING - 1)
    assert device.pipeline.close_windows() == 0


def test_a_report_says_what_the_policy_allows_and_no_more(bench, device):
    """No device identity, the policy's hash, the metric's mechanism, a legal payload."""
    bench.at(CLOSING)
    device.pipeline.close_windows()

    for report in reports(device):
        plan = bench.policy.plans[report.metric]
        assert (report.fleet, report.window_start, report.dimensions) == ("testers", START, ())
        assert report.policy_hash == bench.policy.digest[:16]
        assert report.mechanism == plan.mechanism.id
        plan.mechanism.decode(report.payload)


def test_every_report_is_charged_in_the_ledger(bench, device):
    """Once, at what OpenDP says, and the chain holds."""
    bench.at(CLOSING)
    device.pipeline.close_windows()

    assert device.store.ledger.verify() == 3
    charged = {entry.metric: entry.nano for entry in device.store.ledger.entries()}
    assert charged == {name: plan.mechanism.charge() for name, plan in bench.policy.plans.items()}
    assert all(0.999e9 < nano <= 1e9 for nano in charged.values())


def test_a_silent_device_reports_too(bench, device):
    """As many reports, of the same size, as a busy one."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    silent = sorted(len(row.envelope) for row in device.store.outbox.due(2**60, 100))
    bench.at(END + 10)
    device.pipeline.record([opening(END + 1)] * 50)
    bench.at(CLOSING + HOUR)
    device.pipeline.close_windows()

    busy = sorted(len(row.envelope) for row in device.store.outbox.due(2**60, 100) if row.window_start == END)
    assert busy == silent == [256, 256, 256]


def test_after_an_absence_every_missed_window_is_reported(bench, device):
    """Backfill within the horizon, and nothing beyond it."""
    bench.at(START + 20 * HOUR + 60)
    assert device.pipeline.close_windows() == 20 * 3

    bench.at(START + 100 * HOUR + 60)
    device.pipeline.close_windows()
    starts = {entry.window_start for entry in device.store.ledger.entries()}
    assert START + 30 * HOUR not in starts  # older than a day of late horizon when the device came back
    assert START + 99 * HOUR in starts
    expired = device.store.counters()["windows_expired"]
    assert expired == dict.fromkeys(("opened", "side", "openings"), 100 - len(starts))


def test_a_late_event_of_a_closed_window_is_counted_as_late(bench, device):
    """It is kept for personalization, and changes no metric."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    assert device.pipeline.record([opening(START + 5)]) == [None]

    assert device.store.counters()["events_late"] == {"opened": 1, "openings": 1, "side": 1}
    assert device.store.tallies.load("openings", bench.policy.plans["openings"].version, START) is None


def test_an_event_before_the_first_whole_window_is_not_late(bench, device):
    """It is kept, measures nothing, and is counted as what it is."""
    bench.at(START + 10)
    assert device.pipeline.record([opening(START - 5)]) == [None]

    counters = device.store.counters()
    assert counters["events_before_enrolment"] == {"opened": 1, "openings": 1, "side": 1}
    assert "events_late" not in counters


def test_events_land_in_the_window_of_their_own_time(bench, device):
    """Out of order, across the border, before the lateness is over."""
    bench.at(END + 30)
    device.pipeline.record([opening(END + 1), opening(END - 1), opening(START)])

    version = bench.policy.plans["openings"].version
    assert device.store.tallies.load("openings", version, START) == 2
    assert device.store.tallies.load("openings", version, END) == 1


def test_tallies_go_when_their_window_closes(bench, device):
    """The exact value does not outlive the randomised one."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    bench.at(CLOSING)
    device.pipeline.close_windows()

    assert device.store.connection.execute("SELECT count(*) FROM tallies").fetchone() == (0,)


def test_a_cap_refuses_and_explains(bench):
    """P9: which cap, what was asked, what is left, when it resets; and the window is not asked for again."""
    bench.policy = make_policy(cap=4.0)
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(CLOSING + HOUR)

    assert device.pipeline.close_windows() == 4
    metric, window, refusal = device.store.ledger.last_refusal()
    assert (metric, window) == ("opened", END + HOUR)  # it has begun, and is refused already
    assert refusal.left < refusal.asked
    assert refusal.resets_at == START + 28 * 86_400
    assert device.store.counters()["releases_refused"] == {"BUDGET_PER_28_DAYS": 2}
    assert device.pipeline.close_windows() == 0


def test_keys_overlap_and_the_youngest_valid_one_is_sealed_to(bench):
    """By the day, UTC: the former one while it is alone, the newer one from its first day on, beside the former."""
    newer = AggregatorKey(id="newer", public_key="11" * 32, from_="2023-11-16", until="2024-06-01")
    rules = bench.policy.policy
    rules = structs.replace(rules, aggregator=structs.replace(rules.aggregator, keys=(newer, *rules.aggregator.keys)))
    day_ms = 24 * HOUR * 1000

    assert valid_key(rules, START * 1000 + day_ms - 1).id == "test"
    assert valid_key(rules, START * 1000 + day_ms).id == "newer"
    assert valid_key(rules, START * 1000 + 365 * day_ms).id == "test"
    assert valid_key(rules, START * 1000 + 10 * 365 * day_ms) is None


def test_a_policy_without_a_valid_key_is_counted_once_at_a_start(bench):
    """And again after a start that finds none still; what waits goes on when a policy brings one."""
    bench.policy = make_policy(until="2023-11-16")
    device = bench.open()
    device.pipeline.close_windows()
    for second in range(3):
        bench.at(START + 24 * HOUR + 60 + second)
        assert device.pipeline.close_windows() == 0
    assert device.store.counters()["releases_without_key"] == {"": 1}
    device.pipeline.adopt(make_policy(version=2))

    assert device.pipeline.close_windows() == 24 * 3
    assert device.store.counters()["releases_without_key"] == {"": 1}


def test_without_a_valid_key_releases_pause_and_nothing_is_charged(bench):
    """When a key comes, the missed windows follow."""
    bench.policy = make_policy(until="2021-01-01")
    device = bench.open()
    bench.at(CLOSING)
    assert device.pipeline.close_windows() == 0
    assert device.store.ledger.verify() == 0


def test_only_an_authentic_receipt_clears_a_report(bench, device):
    """A forged one is counted, another device's is ignored."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    honest = receipts(device)
    forged = [Receipt(receipt.report_id, 0, bytes(16)) for receipt in honest]

    assert device.pipeline.settle(forged) == 0
    assert device.pipeline.settle([Receipt(bytes(16), 0, bytes(16))]) == 0
    assert device.store.outbox.waiting() == 3
    assert device.pipeline.settle(honest) == 3
    assert device.pipeline.settle(honest) == 0
    assert device.store.outbox.waiting() == 0
    assert device.store.counters()["receipts_forged"] == {"": 3}
    assert device.store.counters()["reports_settled"] == {"ACCEPTED": 3}
    assert len(list(device.store.outbox.history())) == 3


def test_a_refused_report_is_settled_with_its_reason(bench, device):
    """The device stops resending and counts it."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    device.pipeline.settle(receipts(device, Verdict.WINDOW_TOO_LATE))

    assert device.store.counters()["reports_settled"] == {"WINDOW_TOO_LATE": 3}


def test_a_verdict_of_the_future_is_settled_too(bench, device):
    """A newer aggregator may know more reasons."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    assert device.pipeline.settle(receipts(device, 77)) == 3
    assert device.store.counters()["reports_settled"] == {"VERDICT_77": 3}
    assert {row["state"] for row in describe_sent(device.store.outbox)} == {"VERDICT_77"}


def test_raw_events_are_forgotten_on_time(bench, device):
    """Retention of three days, never longer; the id is known for seven."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1, id="a")])
    bench.at(START + 2 * 86_400)
    assert device.pipeline.forget() == 0
    bench.at(START + 4 * 86_400 + 2)
    assert device.pipeline.forget() == 1
    assert device.store.raw.size() == (0, 0)
    assert [why for [why] in device.store.connection.execute("SELECT why FROM deletions")] == ["EXPIRED"]
    bench.at(START + 9 * 86_400)
    device.pipeline.forget()
    assert device.store.connection.execute("SELECT count(*) FROM seen_ids").fetchone() == (0,)


def test_reports_past_the_horizon_are_given_up_and_counted(bench, device):
    """Nobody would take them any more; the charge stays in the ledger."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    bench.at(CLOSING + 30 * HOUR)
    device.pipeline.forget()

    assert device.store.outbox.waiting() == 0
    assert device.store.counters()["reports_given_up"] == {"opened": 1, "openings": 1, "side": 1}
    assert device.store.ledger.verify() == 3


@pytest.mark.parametrize("size", [256, 512, 1024, 4096])
def test_no_envelope_is_smaller_than_the_policy_pads_to(bench, size):
    """So that a fleet whose longest report needs a greater class can send them all alike."""
    bench.policy = make_policy(edits=(("receipt_buckets: 16", f"receipt_buckets: 16\npadding: {size}"),))
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(CLOSING)
    assert device.pipeline.close_windows() == 3

    assert {len(row.envelope) for row in device.store.outbox.due(2**60, 10)} == {size}


def test_the_spread_delays_within_its_bounds(bench):
    """Each report waits a random while, none longer than the policy says."""
    bench.policy = make_policy(spread="10m")
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 20 * HOUR + 60)
    device.pipeline.close_windows()

    delays = {row.not_before_ms - bench.clock.now_ms() for row in device.store.outbox.due(2**60, 1000)}
    assert all(0 <= delay <= 600_000 for delay in delays)
    assert len(delays) > 10


def test_a_failure_before_the_commit_leaves_no_charge_and_no_report(bench, device, monkeypatch):
    """P2: debit, draw and outbox row stand or fall together."""
    bench.at(CLOSING)
    outbox = type(device.store.outbox)
    honest_add = outbox.add

    def failing_add(self, row):
        honest_add(self, row)
        if row.metric == "openings":
            raise OSError("the power went")

    monkeypatch.setattr(outbox, "add", failing_add)
    with pytest.raises(OSError, match="power"):
        device.pipeline.close_windows()
    assert device.store.ledger.verify() == 0
    assert device.store.outbox.waiting() == 0
    monkeypatch.undo()
    assert device.pipeline.close_windows() == 3


def test_what_a_metric_knew_goes_with_the_metric(bench, device):
    """A policy without it closes no window of it; its exact state must not stay for ever."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    remaining = {name: plan for name, plan in bench.policy.plans.items() if name != "side"}
    bench.policy = replace(bench.policy, plans=remaining)
    device = bench.open()
    device.pipeline.forget()

    kept = device.store.connection.execute("SELECT DISTINCT metric FROM tallies ORDER BY 1").fetchall()
    assert kept == [("opened",), ("openings",)]


def test_forgetting_reaches_the_write_ahead_log(bench, device):
    """A deleted row must not live on in a file beside the database."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    log = bench.folder / "agent.db-wal"
    assert log.stat().st_size > 0
    device.pipeline.forget()
    assert log.stat().st_size == 0


def redefined(bench, *edits, **changes):
    """The test policy with parts of its text replaced, as its next version."""
    bench.policy = make_policy(version=2, edits=edits, **changes)
    return bench.open()


def test_a_metric_that_is_new_here_starts_with_the_next_whole_window(bench, device):
    """It never saw the windows before, so it says nothing of them."""
    remaining = {name: plan for name, plan in bench.policy.plans.items() if name != "side"}
    whole, bench.policy = bench.policy, replace(bench.policy, plans=remaining)
    device = bench.open()
    bench.at(START + 5 * HOUR + 60)
    device.pipeline.close_windows()
    device.pipeline.forget()
    bench.policy = whole
    device = bench.open()
    bench.at(START + 5 * HOUR + 120)
    device.pipeline.close_windows()
    bench.at(START + 8 * HOUR + 60)
    device.pipeline.close_windows()

    sides = [entry.window_start for entry in device.store.ledger.entries() if entry.metric == "side"]
    assert sides == [START + 6 * HOUR, START + 7 * HOUR]


def test_a_redefined_metric_drops_its_open_window_and_starts_anew(bench, device):
    """What was counted under another definition is not reported as if it were the whole."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)] * 3)
    device = redefined(bench, ("bounds: [0, 10]", "bounds: [0, 11]"))
    device.pipeline.close_windows()
    bench.at(START + 2 * HOUR + 60)
    device.pipeline.close_windows()

    charged = sorted((entry.metric, entry.window_start) for entry in device.store.ledger.entries())
    assert ("openings", START) not in charged
    assert ("opened", START) in charged
    assert ("openings", START + HOUR) in charged


def test_another_window_length_stays_on_the_grid(bench, device):
    """Windows are aligned to the epoch, whatever they were before."""
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()
    device = redefined(bench, ("window: 1h", "window: 2h"))
    device.pipeline.close_windows()
    bench.at(START + 9 * HOUR)
    device.pipeline.close_windows()

    lengths = {
        (entry.window_seconds, entry.window_start % entry.window_seconds) for entry in device.store.ledger.entries()
    }
    assert lengths == {(HOUR, 0), (2 * HOUR, 0)}
    starts = [entry.window_start for entry in device.store.ledger.entries() if entry.window_seconds == 2 * HOUR]
    assert min(starts) >= START + 2 * HOUR


def test_a_clock_that_was_wrong_at_consent_is_mended_by_saying_it_again(bench):
    """And no window is charged a second time."""
    bench.policy = make_policy(consent="opt-in")
    bench.clock = clock = MachineClock()
    device = bench.open()
    device.pipeline.learn_signed_time(START * 1000)

    def consent_now():
        write_word(bench.folder, Word("on", clock.now_ms(), privacy_class(bench.policy.policy)))
        device.pipeline.close_windows()

    clock.set_wall(20 * 86_400)
    consent_now()
    clock.set_wall(0)
    consent_now()
    clock.wait(HOUR + 60)
    assert device.pipeline.close_windows() == 3
    clock.set_wall(-2 * HOUR)
    consent_now()
    clock.set_wall(0)
    assert device.pipeline.close_windows() == 0


def test_a_draw_leaves_the_whole_spread_for_its_way(bench):
    """Nothing is charged that could arrive too late."""
    bench.policy = make_policy(spread="10h")
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + HOUR + 60 + 25 * HOUR)
    device.pipeline.close_windows()

    latest = max(row.not_before_ms for row in device.store.outbox.due(2**60, 10_000))
    earliest = min(entry.window_start for entry in device.store.ledger.entries())
    assert latest <= (earliest + HOUR + 60 + 10 * HOUR + 24 * HOUR) * 1000


def test_any_run_of_legal_events_can_be_stored(bench):
    """Sums saturate, great integers become floats: data must not decide whether the agent lives."""
    bench.policy = make_policy(
        edits=(
            ("min: -10, max: 100, unit: s, grid: 0.5", "min: -1, max: 9000000000000000"),
            (
                "per_device: count, type: count, bounds: [0, 10]",
                "per_device: {sum: seconds}, type: mean, bounds: [0, 10]",
            ),
        )
    )
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 10)
    great = opening(START + 1, fields={"seconds": 9_000_000_000_000_000, "side": "left"})
    assert device.pipeline.record([great] * 3000) == [None] * 3000
    bench.at(CLOSING)
    assert device.pipeline.close_windows() == 3


def test_given_up_reports_stay_in_the_history(bench, device):
    """They may have arrived: the owner sees every report that left."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    bench.at(CLOSING + 30 * HOUR)
    device.pipeline.forget()

    assert [row["state"] for row in describe_sent(device.store.outbox)] == ["GIVEN_UP"] * 3


def test_the_history_speaks_under_the_policy_of_its_day(bench, device):
    """Another order of categories later does not change what was said."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    before = describe_sent(device.store.outbox)
    device = redefined(bench, ("[left, right]", "[right, left]"))
    assert describe_sent(device.store.outbox) == before


# --- another policy, without a restart


def test_a_policy_is_adopted_at_once_for_what_is_received(bench, device):
    """The very next event is judged by it."""
    wider = (("max: 100, unit", "max: 200, unit"), ("version: 1-1-0", "version: 1-2-0"), ("[1-0-0]", "[1-0-0, 1-1-0]"))
    long = opening(START + 1, version="1-2-0", fields={"seconds": 150.0, "side": "left"})
    bench.at(START + 2)
    assert device.pipeline.record([long])[0].reason is EventRefusal.UNKNOWN_VERSION
    device.pipeline.adopt(make_policy(version=2, edits=wider))

    assert device.pipeline.record([long]) == [None]
    assert device.pipeline.record([opening(START + 1)]) == [None]


def test_an_unchanged_metric_goes_on_within_its_window_and_others_wait_for_the_next(bench, device):
    """What was counted before the change counts; a new metric begins with a whole window; one that left is gone."""
    start, end = START, START + HOUR
    bench.at(start)
    device.pipeline.close_windows()
    bench.at(start + 10)
    device.pipeline.record([opening(start + 1)])
    renamed = (("  openings: {from", "  opened_often: {from"),)
    changed = make_policy(version=2, edits=renamed)
    device.pipeline.adopt(changed)
    bench.at(start + 20)
    device.pipeline.close_windows()
    device.pipeline.record([opening(start + 11)])
    state = device.store.tallies.load("opened", changed.plans["opened"].version, start)
    bench.at(end + 60)
    device.pipeline.close_windows()
    first = {(entry.metric, entry.window_start) for entry in device.store.ledger.entries()}
    bench.at(end + HOUR + 60)
    device.pipeline.close_windows()
    both = {(entry.metric, entry.window_start) for entry in device.store.ledger.entries()}

    assert state == [2]
    assert first == {("opened", start), ("side", start)}
    assert both - first == {("opened", end), ("side", end), ("opened_often", end)}
    assert {entry.policy_hash for entry in device.store.ledger.entries()} == {changed.digest}


def test_reports_of_a_metric_that_left_the_policy_are_given_up_at_the_horizon(bench, device):
    """They are paid for, so they are sent until nobody would take them."""
    bench.at(START)
    device.pipeline.close_windows()
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()
    device.pipeline.adopt(make_policy(version=2, edits=(("  openings: {from", "  opened_often: {from"),)))
    bench.at(START + 20 * HOUR)
    device.pipeline.forget()
    assert device.store.outbox.waiting() == 3
    bench.at(START + 28 * HOUR)
    device.pipeline.forget()

    assert device.store.outbox.waiting() == 0
    assert device.store.counters()["reports_given_up"]["METRIC_LEFT_THE_POLICY"] == 1


def test_no_window_of_a_pause_is_reported(bench, device):
    """Its events were refused, so a report would say that nothing happened where nobody looked."""
    write_word(bench.folder, Word("on", 1, privacy_class(bench.policy.policy)))
    device = bench.open()
    bench.at(START)
    device.pipeline.close_windows()
    demanding = make_policy(version=2, cap=2000)
    device.pipeline.adopt(demanding)
    device.pipeline.note_pause()
    bench.at(START + 5 * HOUR + 600)
    assert device.pipeline.close_windows() == 0
    device.pipeline.adopt(make_policy(version=3))
    device.pipeline.close_windows()
    bench.at(START + 8 * HOUR + 60)
    device.pipeline.close_windows()
    windows = {entry.window_start for entry in device.store.ledger.entries()}

    assert windows == {START + 6 * HOUR, START + 7 * HOUR}


def test_a_metric_that_left_and_came_back_begins_anew(bench, device):
    """However soon: what was counted of its window is forgotten when it leaves."""
    bench.at(START)
    device.pipeline.close_windows()
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    whole = bench.policy
    device.pipeline.adopt(make_policy(version=2, edits=(("  openings: {from", "  opened_often: {from"),)))
    device.pipeline.adopt(make_policy(version=3))
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()

    assert ("openings", START) not in {(e.metric, e.window_start) for e in device.store.ledger.entries()}
    assert device.store.tallies.load("openings", whole.plans["openings"].version, START) is None
