"""The real thing: `discreet aggregator run` beside a real broker, real messages, receipts, SIGKILL and SIGTERM."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from aggregating import DISCREET, aggregator, broker, count, device, free_port, process, publish, wait_for
from discreet_contract.wire import Verdict, reports_topic

REPORTS = 200


@pytest.fixture
def where(where_served):
    """Both databases in slow runs, SQLite always."""
    return where_served


def command(config, *words):
    done = subprocess.run(
        [DISCREET, "aggregator", *words, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("kind", ["dev-broker", "mosquitto"])
def test_real_run(fleet, where, query, tmp_path, kind):
    """200 reports, each twice, and garbage: totals are exact, every receipt is authentic, SIGTERM ends it cleanly."""
    port = free_port()
    (tmp_path / "now").write_text(str(fleet.clock.now_ms()))
    config = fleet.write_config(port, where, replay_clock='"now"', batch=64)
    reports = [fleet.report(payload=bytes([number % 2])) for number in range(REPORTS)]
    envelopes = [fleet.seal(report) for report in reports]
    log = tmp_path / "aggregator.log"
    with broker(kind, port, tmp_path), aggregator(config, log) as service, device(port) as (client, received):
        publish(client, [*envelopes, b"", b"garbage", bytes(256), bytes(9000), *envelopes])
        wait_for(lambda: {receipt.report_id for receipt in received} >= {r.report_id for r in reports}, "receipts")
        wait_for(lambda: count(query, "select sum(count) from refusals") == REPORTS + 4, "the duplicates")
        code, output, _ = command(config, "metrics", "--json")  # while it runs
        assert code == 0
        service.send_signal(signal.SIGTERM)
        assert service.wait(10) == 0

    keys = {report.report_id: report.receipt_key for report in reports}
    assert all(receipt.authentic(keys[receipt.report_id]) for receipt in received)
    assert {receipt.verdict for receipt in received} == {Verdict.ACCEPTED}
    assert count(query, "select sum(reports) from archive") == REPORTS
    assert query("select reason, sum(count) from refusals group by 1 order by 1") == [
        ("DUPLICATE", REPORTS),
        ("MAGIC", 1),
        ("SIZE", 2),
        ("TOO_LARGE", 1),
    ]
    [row] = json.loads(output)["metrics"]
    assert (row["metric"], row["devices"], row["policy_versions"]) == ("any_trip", REPORTS, [1])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [lines[0]["event"], lines[-1]["event"]] == ["started", "stopped"]
    assert next(line for line in lines if line["event"] == "worker stopped")["accepted"] == REPORTS


@pytest.mark.parametrize("kind", ["dev-broker", "mosquitto"])
def test_killed_and_restarted(fleet, where, query, tmp_path, kind):
    """SIGKILL in the middle of the stream, several times: what a device resends until its receipt comes counts once."""
    port = free_port()
    (tmp_path / "now").write_text(str(fleet.clock.now_ms()))
    config = fleet.write_config(port, where, replay_clock='"now"', batch=8, flush_ms=5)
    waiting = {report.report_id: fleet.seal(report) for report in (fleet.report() for _ in range(REPORTS))}
    log = tmp_path / "aggregator.log"
    with broker(kind, port, tmp_path), device(port) as (client, received):
        for _ in range(3):
            with aggregator(config, log) as service:
                for envelope in waiting.values():
                    client.publish(reports_topic("test-fleet"), envelope, qos=1)
                wait_for(lambda: received, "a first receipt")  # the kill lands somewhere behind it
                service.kill()
            for receipt in received.copy():
                waiting.pop(receipt.report_id, None)
            received.clear()
        with aggregator(config, log):
            publish(client, waiting.values())
            wait_for(lambda: {receipt.report_id for receipt in received} >= set(waiting), "the rest")
    assert count(query, "select sum(reports) from archive") == REPORTS
    assert count(query, "select sum(reports) from sources") == REPORTS


def test_one_instance_a_state_folder(fleet, tmp_path):
    """A second aggregator on the same folder refuses to start, with the configuration's exit code."""
    port = free_port()
    config = fleet.write_config(port)
    log = tmp_path / "aggregator.log"
    with process([DISCREET, "aggregator", "run", "--config", str(config)], log) as first:
        wait_for(lambda: log.exists() and "broker away" in log.read_text(), "the first one")
        code, _, error = command(config, "run")
        assert (code, "another aggregator" in error) == (3, True)
        first.send_signal(signal.SIGTERM)  # stops at once even while the broker is away
        assert first.wait(5) == 0
