"""A device that was away for 30 days, and an aggregator restored from an old backup: every window counts exactly once.

The real agent and the real aggregator over real databases; only the clock and the way between them are the test's.
"""

import shutil
from collections import Counter

import pytest
from nacl.public import PrivateKey

from device_bench import AGGREGATOR, HOUR, START, Bench, make_policy
from discreet_agent.publish import Courier, read_receipts
from discreet_aggregator.pipeline import Pipeline
from discreet_aggregator.policies import PolicyShelf
from discreet_aggregator.resend import signed_request
from discreet_aggregator.store.reader import Reader
from discreet_aggregator.store.store import Store
from discreet_contract.clock import ManualClock
from discreet_contract.envelope import encode_key_id
from discreet_contract.errors import ConfigError
from discreet_contract.resend import Resend, ResendRefusal, make_resend
from discreet_contract.wire import REPORT_ID_BYTES

DAY = 24 * HOUR
KEYS = {encode_key_id("test"): AGGREGATOR}
DAILY = (("window: 1h", "window: 1d"), ("late_horizon: 1d", "late_horizon: 35d"))
METRICS = {"opened", "side", "openings"}


class Way:
    """Carries everything that is due from one device to one aggregator; receipts come back, or are lost."""

    def __init__(self, bench, folder):
        self.bench, self.path = bench, folder / "aggregator.db"
        self.clock = ManualClock(START * 1000)
        self.shelf = PolicyShelf([bench.policy])
        self.arrived = []

    def listen(self, bucket):
        """All buckets arrive."""

    def publish(self, envelope):
        self.arrived.append(envelope)
        return True

    def carry(self, device, *, receipts=True):
        """Send what is due, let the aggregator answer; returns how many reports were settled."""
        now_ms, self.arrived = self.bench.clock.now_ms(), []
        self.clock.ms = now_ms
        device.pipeline.note_sent(Courier(60).send(device.pipeline.publishable(10_000), self, now_ms))
        with Store(str(self.path)) as store:
            pipeline = Pipeline(store, self.shelf, KEYS, self.clock, "testers")
            outgoing = pipeline.process(self.arrived, {}) if self.arrived else []
        answers = [read_receipts(message.payload) for message in outgoing] if receipts else []
        return sum(device.pipeline.settle(answer) for answer in answers)

    def counted(self):
        """(metric, window) → devices in its totals."""
        with Reader(str(self.path)) as reader:
            counted = Counter()
            for cell, _, _, report_ids in reader.archived():
                counted[cell.metric, cell.window_start] += len(report_ids) // REPORT_ID_BYTES
        return counted

    def refused(self):
        with Reader(str(self.path)) as reader:
            return {(row.reason, row.count) for row in reader.refusals()}


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "agent", policy=make_policy(edits=DAILY))
    yield bench
    bench.close()


@pytest.fixture
def way(bench, tmp_path):
    return Way(bench, tmp_path)


def live(bench, device, first_day, last_day, way=None):
    """Days that pass on the device; with a way, reports leave and are answered."""
    for day in range(first_day, last_day + 1):
        bench.at(START + day * DAY + 120)
        device.pipeline.close_windows()
        device.pipeline.forget()
        if way is not None:
            way.carry(device)


def windows(first_day, last_day):
    """Every (metric, window) of these days, once."""
    return {(name, START + day * DAY): 1 for name in METRICS for day in range(first_day, last_day + 1)}


@pytest.mark.parametrize("is_running", [True, False], ids=["without a network", "switched off"])
def test_thirty_days_away_are_reported_exactly_once(bench, way, is_running):
    """What was drawn meanwhile, or is drawn on return, is all within the horizon: none refused, none twice."""
    device = bench.open()
    live(bench, device, 0, 3, way)
    if is_running:
        live(bench, device, 4, 33)
    else:
        bench.at(START + 33 * DAY + 120)
        device = bench.open()
        device.pipeline.hear_time(bench.clock.now_ms())
        device.pipeline.close_windows()
    assert way.carry(device, receipts=False) == 0  # the answers are lost: everything is sent twice
    bench.at(START + 33 * DAY + 400)
    assert way.carry(device) == 30 * 3

    assert way.counted() == windows(1, 32)
    assert way.refused() <= {("DUPLICATE", 90)}
    assert Counter((row.metric, row.window_start) for row in device.store.ledger.entries()) == windows(1, 32)
    assert device.store.ledger.verify() == 32 * 3
    assert device.store.outbox.waiting() == 0
    assert not {"windows_expired", "reports_given_up"} & set(device.store.counters())


def test_a_restored_aggregator_asks_again_and_counts_what_it_forgot_once(bench, way, tmp_path):
    """The same bytes, no draw, no charge; what it still knew counts no second time; a replay does nothing."""
    device = bench.open()
    live(bench, device, 0, 10, way)
    shutil.copy(way.path, tmp_path / "backup.db")
    live(bench, device, 11, 20, way)
    before = {one["report_id"]: one["envelope"] for one in device.store.outbox.history()}
    ledger = list(device.store.ledger.entries())
    (tmp_path / "backup.db").replace(way.path)
    assert way.counted() == windows(1, 9)

    bench.at(START + 20 * DAY + 300)
    asked = Resend(bench.clock.now_ms(), START + 5 * DAY, "restored from a backup")
    request = signed_request(way.shelf, KEYS, "testers", asked)
    assert device.pipeline.hear_resend(request) is None
    device = bench.open()  # what was heard outlives a restart
    while device.pipeline.resend():
        pass
    assert device.store.outbox.waiting() == 15 * 3
    assert way.carry(device) == 15 * 3
    assert way.counted() == windows(1, 19)
    assert {one["report_id"]: one["envelope"] for one in device.store.outbox.history()} == before
    assert list(device.store.ledger.entries()) == ledger

    older = signed_request(way.shelf, KEYS, "testers", Resend(asked.time_ms - 1, 0, "older"))
    for again in (request, older):
        assert device.pipeline.hear_resend(again) is None
        assert device.pipeline.resend() == 0
    assert device.store.counters()["resends_obeyed"] == {"": 1}
    assert device.store.counters()["reports_resent"] == dict.fromkeys(METRICS, 15)
    newer = signed_request(way.shelf, KEYS, "testers", Resend(asked.time_ms + 1, START + 19 * DAY, "newer"))
    assert device.pipeline.hear_resend(newer) is None
    assert device.pipeline.resend() == 3


def test_what_is_asked_again_is_spread(bench, way):
    """A whole fleet hears the request in the same second."""
    bench.policy = make_policy(edits=DAILY, spread="6h")
    way.shelf = PolicyShelf([bench.policy])
    device = bench.open()
    live(bench, device, 0, 30)
    bench.at(START + 30 * DAY + 7 * HOUR)
    way.carry(device)
    now_ms = bench.clock.now_ms() + 1_000
    bench.at(now_ms / 1000)
    request = signed_request(way.shelf, KEYS, "testers", Resend(now_ms, START, "restored"))
    assert device.pipeline.hear_resend(request) is None

    assert device.pipeline.resend() == 29 * 3
    waits = [row.not_before_ms - now_ms for row in device.store.outbox.due(2**60, 1000)]
    assert all(0 <= wait <= 6 * HOUR * 1000 for wait in waits)
    assert max(waits) - min(waits) > HOUR * 1000  # 87 draws within a sixth of the span: odds below 1e-60


def test_windows_past_the_horizon_are_not_sent_again(bench, way):
    """They would be refused."""
    kept = (("lateness: 1m\n", "lateness: 1m\nretention: {metrics: 90d}\n"),)
    bench.policy = make_policy(edits=(*DAILY, *kept))
    way.shelf = PolicyShelf([bench.policy])
    device = bench.open()
    live(bench, device, 0, 51, way)
    assert len(list(device.store.outbox.history())) == 150
    request = signed_request(way.shelf, KEYS, "testers", Resend(bench.clock.now_ms(), 0, "all"))
    assert device.pipeline.hear_resend(request) is None
    while device.pipeline.resend():
        pass

    assert min(row.window_start for row in device.store.outbox.due(2**60, 1000)) == START + 16 * DAY
    way.carry(device)
    assert way.counted() == windows(1, 50)
    assert {reason for reason, _ in way.refused()} <= {"DUPLICATE"}


def test_what_others_ask_changes_nothing(bench, way):
    """Forged, of another fleet, too old: refused by name; nothing moves."""
    device = bench.open()
    live(bench, device, 0, 3, way)
    asked = Resend(bench.clock.now_ms(), 0, "give me all")
    long_ago = Resend(asked.time_ms - 36 * DAY * 1000, 0, "long ago")
    far_ahead = Resend(asked.time_ms + 2 * DAY * 1000, 0, "far ahead")
    for content, refusal in (
        (make_resend("testers", asked, "test", PrivateKey.generate()), ResendRefusal.ALTERED),
        (make_resend("others", asked, "test", AGGREGATOR), ResendRefusal.ALTERED),
        (make_resend("testers", asked, "none", AGGREGATOR), ResendRefusal.KEY),
        (make_resend("testers", long_ago, "test", AGGREGATOR), ResendRefusal.EXPIRED),
        (make_resend("testers", far_ahead, "test", AGGREGATOR), ResendRefusal.EARLY),
        (b"junk", ResendRefusal.FORM),
    ):
        assert device.pipeline.hear_resend(content) is refusal
        assert device.pipeline.resend() == 0
    assert device.store.outbox.waiting() == 0


def test_without_a_key_that_devices_know_nothing_is_asked(way):
    """The operator is told, before the broker is."""
    with pytest.raises(ConfigError, match="no key"):
        signed_request(way.shelf, {}, "testers", Resend(START * 1000, 0, "x"))
