"""What the agent says of itself."""

import json

from device_bench import HOUR, START, make_policy, opening
from discreet_agent.policies import Policies
from discreet_agent.status import Health, describe, describe_ledger, describe_sent, releases
from discreet_contract.policy.obey import Trust
from releases import Releases


def test_status_is_json_and_tells_what_was_refused(bench, tmp_path):
    """P9 in one sentence: metric, window, asked, spent, left, cap, reset, advice."""
    bench.policy = make_policy(cap=3.5)
    delivered = tmp_path / "policy.json"
    log = Releases(tmp_path / "log")
    delivered.write_bytes(log.release(cap=3.5))
    policies = Policies(delivered, Trust((log.root,)), tmp_path, bench.clock)
    policies.start()
    policies.offer(b"{}", "broker")
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 2 * HOUR + 60)
    device.pipeline.close_windows()
    said = releases(device.pipeline.halted, key_valid=True)
    facts = json.loads(json.dumps(describe(device.store, policies, device.consent, Health("connected", said))))

    assert facts["state"] == "on"
    assert facts["policy"]["log"]["root"] == log.log.root().hex()
    assert facts["policy"]["refused"]["reason"] == "FORM"
    assert facts["policy"]["refused"]["source"] == "broker"
    assert facts["reports_waiting"] == 3
    assert facts["epsilon_spent"] == 3.0
    for part in (
        "opened",
        "2023-11-15T02:00:00Z",  # began a minute ago
        "asked ε 1",
        "spent 3",
        "left 0.5",
        "per_28_days",
        "resets",
        "wait",
    ):
        assert part in facts["last_refusal"]


def test_sent_shows_exact_bytes_and_what_they_say(bench, device):
    """The owner sees exactly what leaves."""
    bench.at(START + 10)
    device.pipeline.record([opening(START + 1)])
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()
    rows = {row["metric"]: row for row in describe_sent(device.store.outbox)}

    assert rows["opened"]["says"] in {"yes", "no"}
    assert rows["side"]["says"] in {"left", "right", "none"}
    assert rows["openings"]["says"].split()[0] in {"below", "at"}
    assert {row["envelope"] for row in rows.values()} == {
        row.envelope.hex() for row in device.store.outbox.due(2**60, 10)
    }
    assert all(row["state"] == "WAITING" for row in rows.values())


def test_the_ledger_is_listed_and_checked(bench, device):
    """Row by row."""
    bench.at(START + HOUR + 60)
    device.pipeline.close_windows()
    facts = describe_ledger(device.store.ledger)

    assert (facts["rows"], facts["chain"]) == (3, "holds")
    assert [entry["sequence"] for entry in facts["entries"]] == [1, 2, 3]
