"""Metrics of a `rotate` group take turns, drawn from the device's secret."""

from collections import Counter

from device_bench import HOUR, START, Bench, make_policy, opening
from discreet_agent.turns import on_turn

ROTATE = tuple(
    (f"  {name}: {{from: door.opened, ", f"  {name}: {{from: door.opened, rotate: doors, ")
    for name in ("opened", "side", "openings")
)
POLICY = make_policy(edits=ROTATE)
# Chance that a right draw fails a test below: under 1e-6 (binomial tails at 5 standard deviations).


def drawn(secret, start, policy=POLICY):
    plans = policy.plans
    return [name for name, plan in plans.items() if on_turn(secret, "testers", plans, plan, start)]


def test_one_member_reports_in_each_window_at_its_full_epsilon(bench):
    """And is charged; the others close without a report."""
    bench.policy = POLICY
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 20 * HOUR + 60)
    assert device.pipeline.close_windows() == 20

    entries = list(device.store.ledger.entries())
    assert [entry.window_start for entry in entries] == [START + number * HOUR for number in range(20)]
    assert all(entry.nano == POLICY.plans[entry.metric].mechanism.charge() for entry in entries)
    others = device.store.counters()["windows_not_on_turn"]
    assert sum(others.values()) == 40
    assert len(device.store.reservations.debits()) == 1  # of the window that has begun
    assert device.store.connection.execute("SELECT count(*) FROM tallies").fetchone() == (0,)


def test_data_does_not_move_the_turn(tmp_path):
    """Two devices with one secret, one busy and one silent, report the same metrics."""
    turns = []
    for name in ("silent", "busy"):
        bench = Bench(tmp_path / name, policy=POLICY)
        bench.open()
        bench.close()
        (bench.folder / "identity").write_text(bytes(32).hex())  # as an earlier version wrote it: it gets its head
        (bench.folder / "ledger.head").unlink()
        device = bench.open()
        device.pipeline.close_windows()
        bench.at(START + 10)
        if name == "busy":
            device.pipeline.record([opening(START + 1)] * 40)
        bench.at(START + 10 * HOUR + 60)
        device.pipeline.close_windows()
        turns.append([(entry.metric, entry.window_start) for entry in device.store.ledger.entries()])
        bench.close()
    assert turns[0] == turns[1]
    assert len(turns[0]) == 10


def test_each_member_gets_its_share():
    """Over windows of one device, and over devices in one window; 3,000 draws each, expected 1,000, deviation 26."""
    by_window = Counter(name for hour in range(3000) for name in drawn(bytes(32), START + hour * HOUR))
    by_device = Counter(name for number in range(3000) for name in drawn(number.to_bytes(32, "big"), START))
    for counted in (by_window, by_device):
        assert sum(counted.values()) == 3000
        assert all(abs(count - 1000) < 135 for count in counted.values())


def test_a_metric_outside_of_any_group_always_reports():
    """Also beside one."""
    policy = make_policy(edits=ROTATE[:2])
    assert all("openings" in drawn(bytes(32), START + hour * HOUR, policy) for hour in range(50))
