"""The watch over sources: hours pass, what is unlike them is in `status` and becomes an event."""

import sqlite3
from contextlib import closing

import pytest

from device_bench import HOUR, ROOT, START, Bench, MachineClock, make_signed, opening
from discreet_agent.device import DATABASE
from discreet_contract.errors import RetryableError
from discreet_contract.policy.release import verify_policy

ANOMALY = """
  agent.anomaly:
    version: 1-0-0
    role: observation
    kind: context
    sensitivity: technical
    why: Something unlike the usual was found at a source, in tests
    owner: tests@example.org
    expires: 2030-01-01
    retention: 3d
    fields:
      signal: {type: category, values: [door.opened, other]}
      kind: {type: category, values: [spike, drop, stuck]}
metrics:
  odd: {from: agent.anomaly, per_device: any, type: binary, window: 1h, epsilon: 1.0, owner: a@b.c, why: in tests}
"""
EDITS = (
    ("signals:\n", "collector: {anomalies: {signal: agent.anomaly}}\nsignals:\n"),
    ("metrics:\n", ANOMALY.lstrip("\n")),
)
POLICY = verify_policy(make_signed(edits=EDITS), [ROOT.verify_key.encode().hex()])


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path / "state", clock=MachineClock(), policy=POLICY)
    yield bench
    bench.close()


def live(bench, device, hours, events, skip=()):
    """Let hours pass as the daemon does, a tick every four seconds here, with so many events in each."""
    clock = bench.clock
    for hour in range(hours):
        for tick in range(900):
            if tick == 450 and events:
                now = clock.now_ms() / 1000
                lines = [opening(now, fields={"seconds": number % 20, "side": "left"}) for number in range(events)]
                assert device.pipeline.record(lines) == [None] * events
            if hour not in skip:
                device.pipeline.watch()
            clock.wait(4)


def hours(device):
    rows = device.store.connection.execute("SELECT count(*) FROM baselines WHERE signal = 'door.opened'")
    return rows.fetchone()[0]


def test_a_spike_is_flagged_recorded_and_counted(bench):
    """Eight days of twenty events an hour, then a thousand."""
    device = bench.open()
    device.pipeline.close_windows()
    live(bench, device, 8 * 24, 20)
    assert device.pipeline.anomalies == []
    live(bench, device, 1, 1000)
    live(bench, device, 1, 20)
    [finding] = device.pipeline.anomalies
    assert (finding.signal, finding.kind, finding.measure, finding.seen) == ("door.opened", "spike", "rate", 1000)
    [event] = device.store.raw.events("agent.anomaly")
    assert event.fields == {"signal": "door.opened", "kind": "spike"}
    [tallied] = device.store.connection.execute("SELECT count(*) FROM tallies WHERE metric = 'odd'")
    assert tallied == (1,)
    assert device.store.counters()["anomalies"] == {"spike": 1}


def test_an_hour_in_which_the_agent_was_away_says_nothing(bench):
    """Neither a drop, nor history; nor does an hour under a clock that jumped."""
    device = bench.open()
    live(bench, device, 3, 20)
    known = hours(device)
    live(bench, device, 3, 20, skip=(0,))
    assert hours(device) == known + 1
    bench.clock.set_wall(-40 * HOUR)
    live(bench, device, 2, 20)
    bench.clock.set_wall(0)
    assert hours(device) <= known + 2


def test_history_is_forgotten_with_the_purge_and_the_policy(bench):
    """It is derived from raw events, and goes when they must."""
    from discreet_agent.steps.purge import Purge

    device = bench.open()
    live(bench, device, 3, 20)
    assert hours(device) >= 2
    device.pipeline.purge(Purge())
    assert hours(device) == 0
    live(bench, device, 3, 20)
    device.pipeline.adopt(verify_policy(make_signed(version=2, signal="door.closed"), [ROOT.verify_key.encode().hex()]))
    live(bench, device, 2, 0)
    assert hours(device) == 0


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{signal: agent.anomaly}", "{signal: agent.anomalie}", "agent.anomaly"),
        ("{signal: agent.anomaly}", "{signal: door.opened}", "cannot fill"),
        ("[spike, drop, stuck]", "[spike, drop]", "no value 'stuck'"),
        ("kind: {type: category, values: [spike, drop, stuck]}", "kind: {type: boolean}", "must be a category"),
    ],
    ids=["unknown", "unfillable", "values", "type"],
)
def test_a_signal_that_cannot_take_them_is_refused(old, new, says):
    """At lint, not on the device."""
    from discreet_contract.errors import PolicyError

    edits = tuple((first, second.replace(old, new)) for first, second in EDITS)
    with pytest.raises(PolicyError, match=says):
        make_signed(edits=edits)


def test_a_policy_without_it_keeps_its_hash():
    """The key came later; what was signed before says the same."""
    from discreet_contract.policy.plain import plain_policy

    plain = plain_policy(verify_policy(make_signed(), [ROOT.verify_key.encode().hex()]).policy)
    assert plain["collector"] == {"host": None}
    assert plain_policy(POLICY.policy)["collector"]["anomalies"] == {"signal": "agent.anomaly"}


def test_it_starts_where_it_should():
    """START is the beginning of an hour."""
    assert START % HOUR == 0


def test_a_stuck_value_is_counted_like_any_other_finding(bench):
    """Also where the store cannot be written at the moment it is found: then a little later."""
    device = bench.open()
    device.pipeline.close_windows()
    now = START
    changing = [opening(now, fields={"seconds": number % 2, "side": "left"}) for number in range(10)]
    device.pipeline.record([*changing, *[opening(now, fields={"seconds": 3, "side": "left"})] * 60])
    with closing(sqlite3.connect(bench.folder / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RetryableError):
            device.pipeline.watch()
    device.pipeline.watch()
    assert [finding.kind for finding in device.pipeline.anomalies] == ["stuck"]
    assert device.store.counters()["anomalies"] == {"stuck": 1}
    assert [event.fields["kind"] for event in device.store.raw.events("agent.anomaly")] == ["stuck"]
