"""Receipts, and the aggregator's request to send again: what each changes, whatever the clock says."""

from structlog.testing import capture_logs

from device_bench import AGGREGATOR, HOUR, START, Bench, MachineClock, make_policy, receipt_for
from discreet_agent.dispatch import Dispatch
from discreet_contract.resend import Resend, ResendRefusal, make_resend
from discreet_contract.wire import Receipt

CLOSING = START + HOUR + 60  # lateness


class NoLink:
    """Offline."""

    connected = False


def settled(bench, device, at):
    """Three reports with their receipts, given at this second of the device's clock."""
    device.pipeline.close_windows()
    bench.at(CLOSING)
    device.pipeline.close_windows()
    rows = device.pipeline.publishable(10)
    bench.at(at)
    assert device.pipeline.settle([receipt_for(one) for one in rows]) == 3


def test_a_request_that_came_before_the_clock_was_set_is_obeyed_when_it_is(bench, device):
    """It is retained, so it comes once a connection, and a connection may last for weeks."""
    settled(bench, device, CLOSING)
    request = make_resend("testers", Resend((CLOSING + 60) * 1000, START, "restored"), "test", AGGREGATOR)
    dispatch = Dispatch(device.pipeline, bench.clock, 60)
    dispatch.hear(request)
    bench.at(CLOSING - 48 * HOUR)
    for _ in range(3):
        dispatch.tick(NoLink())
    assert dispatch.refused == {ResendRefusal.EARLY: 1}
    bench.at(CLOSING + 120)
    dispatch.tick(NoLink())

    assert device.store.outbox.waiting() == 3
    assert device.store.counters()["resends_obeyed"] == {"": 1}


def test_a_receipt_that_came_while_the_clock_was_ahead_hides_no_report_from_a_request(bench, device):
    """Settled after the request, by the clock of then: no request could have that in mind."""
    settled(bench, device, CLOSING + 5 * HOUR)
    bench.at(CLOSING + 60)
    request = make_resend("testers", Resend((CLOSING + 60) * 1000, START, "restored"), "test", AGGREGATOR)
    assert device.pipeline.hear_resend(request) is None

    assert device.pipeline.resend() == 3


def test_a_request_obeyed_while_the_clock_is_ahead_skips_no_window(tmp_path):
    """What is too late is judged by proven time: by a clock that is years ahead, everything would be."""
    bench = Bench(tmp_path / "state", MachineClock())
    device = bench.open()
    device.pipeline.learn_signed_time(START * 1000)
    device.pipeline.close_windows()
    bench.clock.wait(HOUR + 61)
    device.pipeline.close_windows()
    rows = device.pipeline.publishable(10)
    assert device.pipeline.settle([receipt_for(one) for one in rows]) == 3
    request = make_resend("testers", Resend((CLOSING + 1) * 1000, START, "restored"), "test", AGGREGATOR)
    bench.clock.set_wall(60)
    assert device.pipeline.hear_resend(request) is None
    bench.clock.set_wall(1000 * 24 * HOUR)

    assert device.pipeline.resend() == 3
    bench.close()


def test_junk_where_requests_come_is_said_once(bench, device):
    """Whoever may write the topic shall not fill the journal; each one counts."""
    dispatch = Dispatch(device.pipeline, bench.clock, 60)
    with capture_logs() as said:
        for number in range(500):
            dispatch.hear(number.to_bytes(2, "big"))
            dispatch.tick(NoLink())

    assert dispatch.refused == {ResendRefusal.FORM: 500}
    assert len(said) == 1


def test_forged_receipts_do_not_make_a_device_write(bench, device):
    """A broker that keeps the true one back knows the id; each forgery counts, and none wears the flash out."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    [row, *_] = device.pipeline.publishable(10)
    forged = [Receipt(row.report_id, 0, bytes(16))]
    device.pipeline.settle(forged)
    written = device.store.connection.total_changes
    for _ in range(500):
        device.pipeline.settle(forged)

    assert device.store.connection.total_changes == written
    device.pipeline.forget()
    assert device.store.counters()["receipts_forged"] == {"": 501}


def test_a_receipt_that_came_while_the_clock_was_behind_is_kept_as_long_as_any(bench):
    """Else a report that may be asked for again would be forgotten as soon as the clock is set."""
    bench.policy = make_policy(edits=(("late_horizon: 1d", "late_horizon: 35d"),))
    device = bench.open()
    settled(bench, device, CLOSING - 1_000 * HOUR)
    bench.at(CLOSING + HOUR)
    device.pipeline.forget()

    assert [one["state"] for one in device.store.outbox.history()] == ["GIVEN_UP"] * 3  # the store's word for `sent`
