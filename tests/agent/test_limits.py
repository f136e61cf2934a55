"""What the owner allows is never more than the policy asks, and may be less; what the policy stops is stopped."""

import pytest

from device_bench import HOUR, ROOT, START, Bench, make_signed, opening
from discreet_agent.steps.device import Limits
from discreet_contract.accounting import NANO
from discreet_contract.policy.release import verify_policy


def killed(kill, version=1):
    edits = (("metrics:\n", f"kill: {kill}\nmetrics:\n"),)
    return verify_policy(make_signed(edits=edits, version=version), [ROOT.verify_key.encode().hex()])


def closed(device):
    return sorted({entry.metric for entry in device.store.ledger.entries()})


@pytest.mark.parametrize(("owner", "charged"), [(2.0, 2), (1e6, 3), (0.0, 0)])
def test_the_owners_cap_holds_where_it_is_lower(tmp_path, owner, charged):
    """Three metrics of one ε each; a cap above the policy's raises nothing."""
    bench = Bench(tmp_path / "state", limits=Limits(max_epsilon=(owner, None, None)))
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + HOUR + 61)
    device.pipeline.close_windows()
    assert sum(entry.nano for entry in device.store.ledger.entries()) <= owner * NANO
    assert len(list(device.store.ledger.entries())) == charged
    bench.close()


def test_a_killed_metric_makes_no_report_and_begins_anew(tmp_path):
    """The others go on; when the switch is off again, with its next whole window."""
    bench = Bench(tmp_path / "state", policy=killed("{metrics: [opened]}"))
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    bench.at(START + HOUR + 61)
    device.pipeline.close_windows()
    assert closed(device) == ["openings", "side"]
    device.pipeline.adopt(killed("{}", version=2))
    device.pipeline.close_windows()
    bench.at(START + 3 * HOUR + 61)
    device.pipeline.close_windows()
    assert [entry.window_start for entry in device.store.ledger.entries() if entry.metric == "opened"] == [
        START + 2 * HOUR
    ]
    bench.close()


def test_a_metric_killed_while_the_device_was_off_begins_anew_too(tmp_path):
    """Windows in which nothing was counted are no zeros, also where each policy was met at a start."""
    bench = Bench(tmp_path / "state", policy=killed("{}"))
    for version, kill, hour in ((1, "{}", 0), (2, "{metrics: [opened]}", 2), (3, "{}", 4), (3, "{}", 7)):
        bench.policy = killed(kill, version)
        bench.at(START + hour * HOUR + 61)
        device = bench.open()
        device.pipeline.close_windows()
    starts = [entry.window_start for entry in device.store.ledger.entries() if entry.metric == "opened"]
    assert [(start - START) // HOUR for start in starts] == [5, 6]
    bench.close()


def test_what_was_counted_of_a_signal_before_the_owner_denied_it_is_not_reported(tmp_path):
    """The open window goes on as of a device with nothing to say."""
    bench = Bench(tmp_path / "state")
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    bench.limits = Limits(deny_signals=("door.opened",))
    device = bench.open()
    device.pipeline.close_windows()
    assert device.store.connection.execute("SELECT * FROM tallies").fetchall() == []
    bench.at(START + HOUR + 61)
    assert device.pipeline.close_windows() == 3
    bench.close()
