"""The outbox: who goes next, what a full one holds up, what is known of what was sent."""

import json
import sqlite3

import pytest
from click.testing import CliRunner

from device_bench import HOUR, START, make_policy, opening, receipt_for
from discreet_agent.cli.commands import agent
from discreet_agent.outbox_bounds import explain_full
from discreet_agent.publish import Courier
from discreet_agent.status import describe_preview
from discreet_agent.store.outbox import OutboxRow, OutboxSize
from discreet_agent.store.schema import MIGRATIONS
from discreet_agent.store.store import Store

END = START + HOUR
CLOSING = END + 60  # lateness
LONGEST_WAIT_MS = 3_600_000


class OpenLink:
    """Takes everything."""

    def __init__(self):
        self.published = []

    def listen(self, bucket):
        """Subscribed."""

    def publish(self, envelope, _expires_in_seconds=None):
        """Taken."""
        self.published.append(envelope)
        return True


def row(number, *, metric="opened", at_ms=0):
    name = number.to_bytes(16, "big")
    return OutboxRow(name, metric, START, "rr-1", b"\0", "no", bytes(32), name * 16, at_ms, at_ms, 16)


def fill(store, reports, *, at_ms):
    with store.transaction():
        for number in range(reports):
            store.outbox.add(row(number, at_ms=at_ms))


def test_every_report_has_its_turn_though_no_receipt_comes(bench, device):
    """However many wait: those that were sent stand behind those that were not."""
    now_ms = bench.clock.now_ms()
    fill(device.store, 2_500, at_ms=now_ms)
    link, courier = OpenLink(), Courier(resend_seconds=0.001)
    for second in range(4):
        bench.at(START + second)
        handed = courier.send(device.pipeline.publishable(1_000), link, bench.clock.now_ms())
        device.pipeline.note_sent(handed)

    assert len(set(link.published)) == 2_500


def test_waits_outlive_a_restart(bench, device):
    """A device that starts again and again does not send everything each time."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    device.pipeline.note_sent(Courier(60).send(device.pipeline.publishable(10), OpenLink(), bench.clock.now_ms()))
    again = bench.open()

    assert again.pipeline.publishable(10) == []
    bench.at(CLOSING + 61)
    rows = again.pipeline.publishable(10)
    assert [(row.times_sent, row.first_sent_ms) for row in rows] == [(1, CLOSING * 1000)] * 3


def test_a_clock_that_was_set_back_holds_nothing_up(bench, device):
    """A wait longer than any can be was written by the clock of before."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    with device.store.transaction():
        device.store.connection.execute("UPDATE outbox SET not_before_ms = ?", (CLOSING * 1000 + LONGEST_WAIT_MS + 1,))

    assert len(device.pipeline.publishable(10)) == 3
    assert len(device.pipeline.publishable(2)) == 2


@pytest.mark.parametrize("is_policy", [True, False], ids=["a shorter spread", "a clock set back"])
def test_waits_that_are_too_long_are_drawn_anew_and_not_over_at_once(bench, is_policy):
    """Else all that one device has to say would leave in one second, side by side, and with the fleet's."""
    bench.policy = make_policy(spread="20h")
    device = bench.open()
    bench.at(CLOSING)
    fill(device.store, 400, at_ms=(CLOSING + 15 * HOUR) * 1000)
    if is_policy:
        device.pipeline.adopt(make_policy(version=2, spread="2h"))
    else:
        bench.at(CLOSING - 15 * HOUR)
    now = bench.clock.now_ms() // 1000

    assert len(device.pipeline.publishable(1_000)) < 100  # of 400; chance alone: below 1e-9
    bench.at(now + (2 if is_policy else 20) * HOUR)
    assert len(device.pipeline.publishable(1_000)) == 400


def test_one_look_at_a_great_outbox_reads_little_of_it(tmp_path):
    """By index, both ways in: what is due, and what a clock of before has stamped."""
    with Store(tmp_path / "a.db") as store:
        for comparison in ("<=", ">"):
            plan = store.connection.execute(
                f"EXPLAIN QUERY PLAN SELECT * FROM outbox WHERE not_before_ms {comparison} 5 "  # noqa: S608 - constants
                "ORDER BY not_before_ms, report_id LIMIT 10"
            ).fetchall()
            assert [step[3] for step in plan] == [
                f"SEARCH outbox USING INDEX outbox_by_due (not_before_ms{comparison[0]}?)"
            ]


def test_the_size_is_always_that_of_the_rows(bench, device):
    """Kept up by triggers, through everything that may happen to a row."""
    fill(device.store, 20, at_ms=START * 1000)
    rows = device.store.outbox.due(2**60, 100)
    assert device.store.outbox.size() == OutboxSize(20, 20 * 256)
    device.pipeline.settle([receipt_for(rows[0]), receipt_for(rows[1])])
    assert device.store.outbox.size() == OutboxSize(18, 18 * 256)
    bench.at(CLOSING + 30 * HOUR)
    device.pipeline.forget()
    assert device.store.outbox.size() == OutboxSize(0, 0)


def test_more_reports_than_one_step_takes_are_given_up_and_forgotten(bench, device):
    """In steps, and all of them; the last leave a receipt of what went, never of what it said."""
    fill(device.store, 1_203, at_ms=START * 1000)
    bench.at(CLOSING + 30 * HOUR)
    device.pipeline.forget()
    assert device.store.counters()["reports_given_up"] == {"opened": 1_203}
    bench.at(CLOSING + 55 * HOUR)
    device.pipeline.forget()

    [receipt] = [one for one in device.store.deletions.latest(10) if one.layer == "sent"]
    assert (receipt.subject, receipt.start, receipt.length, receipt.items, receipt.why) == (
        *("opened", START, 1, 1_203),
        "EXPIRED",
    )
    assert list(device.store.outbox.history()) == []


def test_the_history_keeps_how_often_and_when(bench, device):
    """Through the receipt."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    for second in (0, 100):
        bench.at(CLOSING + second)
        rows = device.pipeline.publishable(10)
        device.pipeline.note_sent(Courier(10).send(rows, OpenLink(), bench.clock.now_ms()))
    device.pipeline.settle([receipt_for(one) for one in rows])

    kept = list(device.store.outbox.history())
    assert {(one["times_sent"], one["first_sent_ms"], one["last_sent_ms"]) for one in kept} == {
        (2, CLOSING * 1000, (CLOSING + 100) * 1000)
    }
    assert {one["envelope"] for one in kept} == {one.envelope for one in rows}


def test_the_preview_shows_the_very_bytes_that_leave_and_when(bench, device):
    """In the order in which they go; page by page; one alone by its id."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    with device.store.transaction():
        for delay, one in enumerate(device.store.outbox.due(2**60, 10)):
            device.store.connection.execute(
                "UPDATE outbox SET not_before_ms = ? WHERE report_id = ?",
                ((CLOSING + 10 * delay) * 1000, one.report_id),
            )
    shown = describe_preview(device.store.outbox)
    bench.at(CLOSING + 60)
    link = OpenLink()
    device.pipeline.note_sent(Courier(10).send(device.pipeline.publishable(10), link, bench.clock.now_ms()))

    assert [bytes.fromhex(one["envelope"]) for one in shown] == link.published
    assert [one["goes_at"] for one in shown] == [f"2023-11-15T01:01:{second:02}Z" for second in (0, 10, 20)]
    pages = [describe_preview(device.store.outbox, 2, offset) for offset in (0, 2, 4)]
    assert [len(page) for page in pages] == [2, 1, 0]
    [alone] = describe_preview(device.store.outbox, report_id=bytes.fromhex(shown[1]["report_id"]))
    assert alone["envelope"] == shown[1]["envelope"]


def configured(folder, state):
    """A configuration file of a device with this state folder."""
    config = folder / "agent.toml"
    config.write_text(
        f'state_dir = "{state}"\nsocket = "{folder}/s"\npolicy = "{folder}/p"\nroots = ["{"00" * 32}"]\n'
        '[broker]\nurl = "mqtt://127.0.0.1:1"\n'
    )
    return config


def test_the_commands_show_a_page_and_say_that_there_is_more(bench, device, tmp_path):
    """`preview` and `sent`, beside a running agent."""
    bench.at(CLOSING)
    device.pipeline.close_windows()
    config = configured(tmp_path, bench.folder)
    for command in ("preview", "sent"):
        done = CliRunner().invoke(agent, [command, "--config", str(config), "--json", "--limit", "2"])
        assert done.exit_code == 0, done.output
        [rows] = json.loads(done.stdout).values()
        assert len(rows) == 2
        assert "--offset 2" in done.stderr
        done = CliRunner().invoke(agent, [command, "--config", str(config), "--report", rows[0]["report_id"]])
        assert len(done.stdout.splitlines()) == 2
        assert CliRunner().invoke(agent, [command, "--config", str(config), "--report", "zz"]).exit_code == 2


def test_what_was_sent_is_kept_for_as_long_as_the_policy_says(bench):
    """`retention.metrics`; without it the late horizon."""
    bench.policy = make_policy(edits=(("lateness: 1m\n", "lateness: 1m\nretention: {metrics: 4d}\n"),))
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(CLOSING)
    device.pipeline.close_windows()
    device.pipeline.settle([receipt_for(one) for one in device.pipeline.publishable(10)])
    bench.at(CLOSING + 4 * 24 * HOUR - 1)
    device.pipeline.forget()
    assert len(list(device.store.outbox.history())) == 3
    bench.at(CLOSING + 4 * 24 * HOUR + 1)
    device.pipeline.forget()
    assert list(device.store.outbox.history()) == []


def test_a_database_of_before_keeps_what_waits_and_what_was_sent(tmp_path):
    """Version 12 → 13: counted, due as before, and what was settled without its key is never sent again."""
    path = tmp_path / "agent.db"
    with sqlite3.connect(path) as connection:
        for _, script in MIGRATIONS[:12]:
            connection.executescript(script)
        connection.execute("PRAGMA user_version = 12")
        for number in range(3):
            values = (number.to_bytes(16, "big"), "m", START, "rr-1", b"\0", bytes(32), "no", bytes(256), 5, 7, 16)
            names = "report_id, metric, window_start, mechanism, payload, receipt_key, says, envelope, created_at_ms"
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO outbox ({names}, not_before_ms, receipt_buckets) VALUES ({marks})", values)  # noqa: S608
        connection.execute(
            "INSERT INTO sent VALUES (?, 'm', 0, 'rr-1', ?, 'no', ?, 9, 0)", (b"s" * 16, b"\0", bytes(256))
        )
    connection.close()
    for command in ("preview", "sent"):
        done = CliRunner().invoke(agent, [command, "--config", str(configured(tmp_path, tmp_path))])
        assert "older version" in str(done.exception)
        assert "start the agent" in done.exception.hint
    with Store(path) as store:
        assert store.outbox.size() == OutboxSize(3, 768)
        assert [one.times_sent for one in store.outbox.due(10, 10)] == [0, 0, 0]
        assert len(list(store.outbox.history())) == 4
        assert store.sent.to_resend("m", 0, 10, 10, 10) == []


# --- a full outbox


def bounded(**bounds):
    said = ", ".join(f"{name}: {value}" for name, value in bounds.items())
    return make_policy(edits=(("lateness: 1m\n", f"lateness: 1m\noutbox: {{{said}}}\n"),))


def charged(device):
    return {(entry.metric, entry.window_start) for entry in device.store.ledger.entries()}


@pytest.mark.parametrize(("bounds", "bound"), [({"max_reports": 4}, "REPORTS"), ({"max_bytes": 5_000}, "BYTES")])
def test_a_full_outbox_stops_charges_and_drops_nothing(bench, bounds, bound):
    """The windows wait, oldest first, and are charged when receipts have made room."""
    bench.policy = bounded(**bounds)
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(CLOSING + HOUR)
    assert device.pipeline.close_windows() == 4
    assert device.pipeline.close_windows() == 0
    first = charged(device)
    assert len([1 for _, start in first if start == START]) == 3
    assert device.store.counters()["outbox_full"] == {bound: 1}
    device.pipeline.settle([receipt_for(one) for one in device.pipeline.publishable(10)])

    assert device.pipeline.close_windows() == 2
    assert charged(device) == {(name, start) for name in ("opened", "side", "openings") for start in (START, END)}
    assert device.store.outbox.waiting() == 2
    assert "windows_expired" not in device.store.counters()


def test_what_was_counted_waits_with_its_window(bench):
    """The value that is drawn later is that of the window, not of the time of drawing."""
    bench.policy = bounded(max_reports=1)
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)] * 5)
    bench.at(CLOSING)
    device.pipeline.close_windows()
    waiting = {name for name in bench.policy.plans if (name, START) not in charged(device)}

    assert waiting == {"side", "openings"}
    assert device.store.tallies.load("openings", bench.policy.plans["openings"].version, START) == 5


def test_a_window_that_found_no_room_within_the_horizon_expires_and_is_counted(bench):
    """Nobody would take it any more."""
    bench.policy = bounded(max_reports=3)
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(CLOSING)
    device.pipeline.close_windows()
    bench.at(CLOSING + 40 * HOUR)
    device.pipeline.forget()
    device.pipeline.close_windows()
    counters = device.store.counters()

    assert counters["reports_given_up"] == {"opened": 1, "openings": 1, "side": 1}
    assert len(counters["windows_expired"]) == 3
    assert device.store.outbox.waiting() == 3
    assert device.store.ledger.verify() == 6


def test_status_says_which_bound_and_what_to_do(bench):
    """P9."""
    bench.policy = bounded(max_reports=2)
    device = bench.open()
    device.pipeline.close_windows()
    assert explain_full(bench.policy.policy.outbox, device.store.outbox.size()) == ""
    bench.at(CLOSING)
    device.pipeline.close_windows()

    said = explain_full(bench.policy.policy.outbox, device.store.outbox.size())
    assert said.startswith("full: 2 of 2 reports wait")
    assert "aggregator" in said


def test_what_a_broker_is_told_of_expiry_names_neither_window_nor_device(bench):
    """Outside the seal stands one number for the whole fleet, never less than what may still be counted needs."""
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 2 * HOUR + 70)
    device.pipeline.close_windows()
    expiries = []

    class Noting(OpenLink):
        def publish(self, envelope, expires_in_seconds=None):
            expiries.append(expires_in_seconds)
            return super().publish(envelope)

    for now in (START + 2 * HOUR + 71, START + 3 * HOUR, START + 3 * HOUR + 37):  # other ages, or other clocks
        bench.at(now)
        row = device.pipeline.publishable(1)[0]
        Courier(10).send([row], Noting(), bench.clock.now_ms(), device.pipeline.expiry_seconds)
    assert expiries == [24 * HOUR] * 3  # the late horizon; no spread


def test_a_policy_that_comes_while_old_reports_are_given_up_ends_nothing(bench, device):
    """After a long absence both happen at once: a metric leaves between two steps, and the rest follows by age."""
    fill(device.store, 1_203, at_ms=START * 1000)
    bench.at(CLOSING + 30 * HOUR)
    tidying = device.pipeline.tidy()
    while "reports_given_up" not in device.store.counters():
        next(tidying)
    line = "  opened: {from: door.opened, per_device: any, type: binary, window: 1h, epsilon: 1.0, owner: a@b.c, why: in tests}\n"  # noqa: E501 - as in the policy
    device.pipeline.adopt(make_policy(version=2, edits=((line, ""),)))
    for _ in tidying:
        assert device.store.outbox.waiting() < 1_203
    device.pipeline.forget()

    assert sum(device.store.counters()["reports_given_up"].values()) == 1_203
