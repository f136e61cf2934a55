"""Several workers beside a real Mosquitto: killed, left alone, made fewer. Each report counts once."""

from __future__ import annotations

import os
import random
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from aggregating import DISCREET, broker, count, device, free_port, process, publish, wait_for
from discreet_contract.wire import reports_topic

REPORTS = 300


@pytest.fixture
def where(where_served):
    """Both databases in slow runs, SQLite always."""
    return where_served


def children(parent):
    """Processes that a supervisor started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(status.parent.name))
    return sorted(found)


@contextmanager
def workers(config, log, number):
    ready = log.read_text().count('"ready"') if log.exists() else 0
    with process([DISCREET, "aggregator", "run", "--config", str(config)], log) as child:
        wait_for(lambda: log.read_text().count('"ready"') >= ready + number, f"{number} workers", 30)
        yield child


@pytest.fixture
def place(fleet, where, tmp_path):
    """A configuration for a number of workers, and the port of its broker."""
    port = free_port()
    (tmp_path / "now").write_text(str(fleet.clock.now_ms()))

    def configure(number):
        return fleet.write_config(port, where, replay_clock='"now"', batch=8, flush_ms=5, workers=number)

    return configure, port


def test_workers_killed_again_and_again(fleet, query, tmp_path, place):
    """SIGKILL of either worker in the middle of the stream: started again, and what devices resend counts once."""
    configure, port = place
    waiting = {report.report_id: fleet.seal(report) for report in (fleet.report() for _ in range(REPORTS))}
    log = tmp_path / "aggregator.log"
    choices = random.Random(3)  # noqa: S311 which worker is killed
    with (
        broker("mosquitto", port, tmp_path),
        device(port) as (client, received),
        workers(configure(2), log, 2) as service,
    ):

        def settle():
            for receipt in received.copy():
                waiting.pop(receipt.report_id, None)

        for _ in range(4):
            for envelope in waiting.values():
                client.publish(reports_topic("test-fleet"), envelope, qos=1)
            before = len(received)
            wait_for(lambda: len(received) > before, "a receipt")  # noqa: B023 used before the next turn
            wait_for(lambda: len(children(service.pid)) == 2, "both workers")
            os.kill(choices.choice(children(service.pid)), signal.SIGKILL)
            settle()
        wait_for(lambda: len(children(service.pid)) == 2, "both workers")
        publish(client, waiting.values())
        wait_for(lambda: (settle(), not waiting)[1] or publish(client, waiting.values()), "the rest", 60)
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    assert count(query, "select sum(reports) from archive") == REPORTS
    assert count(query, "select sum(ids) from seen_runs") == REPORTS
    assert count(query, "select sum(reports) from sources") == REPORTS


def test_no_worker_outlives_its_supervisor(tmp_path, place):
    """However it ends: workers drain and go once nobody holds the other end of their input."""
    configure, port = place
    with broker("mosquitto", port, tmp_path), workers(configure(2), tmp_path / "log", 2) as service:
        left = children(service.pid)
        assert len(left) == 2
        service.kill()
        service.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "the workers' end")


def test_fewer_workers_leave_no_session_behind(fleet, query, tmp_path, place):
    """A shared subscription deals reports to every session: one that nobody comes back to would swallow its share."""
    configure, port = place
    log = tmp_path / "aggregator.log"
    reports = [fleet.report() for _ in range(40)]
    with broker("mosquitto", port, tmp_path), device(port) as (client, received):
        with workers(configure(3), log, 3) as service:
            service.send_signal(signal.SIGTERM)
            assert service.wait(30) == 0
        with workers(configure(2), log, 2):
            wait_for(lambda: log.read_text().count('"session ended"') == 1 + 1, "the end of a session")
            publish(client, [fleet.seal(report) for report in reports[:20]])
            wait_for(lambda: len(received) == 20, "all receipts, without a resend")
        with workers(configure(1), log, 1):
            wait_for(lambda: log.read_text().count('"session ended"') == 2 + 2, "the end of both sessions")
            publish(client, [fleet.seal(report) for report in reports[20:]])
            wait_for(lambda: len(received) == 40, "all receipts, without a resend")
    assert count(query, "select sum(reports) from archive") == 40
