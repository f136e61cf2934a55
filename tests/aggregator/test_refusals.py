"""What an operator sees of envelopes that do not count, and what a flood of them may cost."""

import json
import secrets

import pytest
from click.testing import CliRunner

from discreet_aggregator.cli import aggregator
from discreet_aggregator.config import load_config
from discreet_aggregator.reasons import MEANINGS
from discreet_aggregator.refusal import RefusalReason
from discreet_aggregator.store.reader import Reader
from discreet_aggregator.store.store import Store

BATCH = 500
FLOOD = 20  # batches


def run(*arguments):
    done = CliRunner().invoke(aggregator, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_every_reason_has_a_meaning_and_a_next_step():
    """In words that do not end in the air."""
    assert set(MEANINGS) == set(RefusalReason)
    assert all(len(means) > 8 and len(step) > 8 for means, step in MEANINGS.values())


@pytest.fixture
def refused(fleet, where):
    """A database with refusals of three kinds, and its configuration."""
    path = fleet.write_config(1883, where)
    with Store(load_config(path).where) as store:
        pipeline = fleet.pipeline(store)
        bad = [fleet.seal(fleet.report(payload=b"\x07")), b"x" * 256, fleet.seal(fleet.report(metric="no_such"))]
        pipeline.process(bad)
    return str(path), bad


def test_refusals_are_chosen_and_explained(refused):
    """By day, metric and reason; each reason that was met with its next step."""
    config, _ = refused
    said = run("refusals", "-c", config)
    assert "PAYLOAD_ILLEGAL: bytes that no honest device sends. Next:" in said
    assert "SIZE:" not in said
    rows = json.loads(run("refusals", "--metric", "any_trip", "--json", "-c", config))["refusals"]
    assert [(row["reason"], row["count"]) for row in rows] == [("PAYLOAD_ILLEGAL", 1)]
    rows = json.loads(run("refusals", "--reason", "MAGIC", "--json", "-c", config))["refusals"]
    assert [row["reason"] for row in rows] == ["MAGIC"]
    assert run("refusals", "--since", "2999-01-01", "-c", config) == "no refusals\n"


def test_the_quarantine_is_listed_and_shown_as_received(refused):
    """Newest first; the bytes of one are what was sent."""
    config, bad = refused
    rows = json.loads(run("quarantine", "--json", "-c", config))["quarantine"]
    assert {row["reason"] for row in rows} == {"PAYLOAD_ILLEGAL", "MAGIC", "METRIC_UNKNOWN"}
    [row] = json.loads(run("quarantine", "--reason", "MAGIC", "--json", "-c", config))["quarantine"]
    assert row["bytes"] == 256
    assert bytes.fromhex(run("quarantine", "--show", str(row["number"]), "-c", config)) == bad[1]
    assert len(run("quarantine", "--limit", "1", "-c", config).splitlines()) == 1


def test_a_flood_writes_next_to_nothing_and_blocks_no_good_report(fleet, where):
    """10,000 envelopes that cannot be opened: a row a batch in quarantine, one count, no id; good ones all count."""
    with Store(where) as store:
        pipeline = fleet.pipeline(store)
        header = fleet.seal(fleet.report())[:12]
        pipeline.process([fleet.seal(fleet.report())])
        before = size(where)
        for _ in range(FLOOD):
            batch = [header + secrets.token_bytes(244) for _ in range(BATCH - 1)]
            batch.insert(BATCH // 2, fleet.seal(fleet.report()))
            assert [one.verdict for one in fleet.receipts(pipeline.process(batch))] == [0]
    with Reader(where) as reader:
        assert reader.accepted() == {"any_trip": FLOOD + 1}
        assert reader.seen_ids() == FLOOD + 1
        assert reader.quarantined() == FLOOD
        assert [(row.reason, row.count) for row in reader.refusals()] == [("UNOPENABLE", FLOOD * (BATCH - 1))]
    assert size(where) - before < FLOOD * BATCH * 100  # against 256 bytes each that were received


def size(where):
    with Reader(where) as reader:
        return reader.size_bytes()
