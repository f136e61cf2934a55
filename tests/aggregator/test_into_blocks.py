"""A database of the version before blocks is brought up to date with everything that it holds."""

from __future__ import annotations

import secrets
from contextlib import closing

import pytest

from discreet_aggregator.metrics import read_metrics
from discreet_aggregator.store.database import find_database
from discreet_aggregator.store.reader import Reader
from discreet_aggregator.store.schema import MIGRATIONS, migrate
from discreet_aggregator.store.store import Store
from discreet_contract.wire import Verdict

REPORTS = 60


def fill_as_before(connection, fleet):
    """Rows as the first version wrote them: one a report; returns the accepted reports and the ids of refused ones."""
    plans = fleet.policy.plans
    accepted, sums = [], {}
    for number in range(REPORTS):
        plan = plans[("any_trip", "place", "distance")[number % 3]]
        payload = plan.mechanism.randomize(number % (plan.high + 1))
        report = fleet.report(metric=plan.name, mechanism=plan.mechanism.id, payload=payload)
        accepted.append(report)
        connection.execute(
            "insert into archive (received_at_ms, policy_hash, metric, metric_version, window_start, mechanism,"
            " payload, dimensions, report_id) values (?, ?, ?, ?, ?, ?, ?, '[]', ?)",
            (
                *(number // 7, report.policy_hash, plan.name, plan.version, report.window_start),
                *(plan.mechanism.id, payload, report.report_id),
            ),
        )
        added = plan.mechanism.accumulate([plan.mechanism.decode(payload)])
        sums[plan.name] = added if plan.name not in sums else sums[plan.name] + added
    for name, vector in sums.items():
        key = (name, plans[name].version, fleet.window_start)
        connection.execute("insert into accumulators values (?, ?, ?, '[]', ?)", (*key, vector.astype("<i8").tobytes()))
        row = (*key, fleet.policy.wire_hash, int(vector[0]))
        connection.execute("insert into provenance values (?, ?, ?, '[]', ?, ?)", row)
    refused = [secrets.token_bytes(16) for _ in range(5)]
    verdicts = [(report.report_id, 0) for report in accepted] + [(one, int(Verdict.PAYLOAD_ILLEGAL)) for one in refused]
    connection.execute_many("insert into verdicts values (?, ?, ?)", [(*one, 10**10) for one in verdicts])
    connection.execute("update watermark set now_ms = 123456789")
    connection.execute("insert into refusals values ('2024-01-01', '', 'SIZE', 3)")
    return accepted, refused


@pytest.fixture
def old(fleet, where):
    with closing(find_database(where).connect()) as connection:
        migrate(connection, {"0001-first": MIGRATIONS["0001-first"]})
        connection.begin()
        filled = fill_as_before(connection, fleet)
        connection.commit()
    return filled


def test_nothing_is_lost(where, old):
    """Archive, sums, sources, counts and the watermark say what they said before."""
    accepted, _ = old
    with Store(where):
        pass
    with Reader(where) as reader:
        blocks = list(reader.archived())
        cells = reader.cells()
        assert reader.watermark().now_ms == 123456789
        assert [count.count for count in reader.refusals()] == [3]
        assert reader.accepted() == {"any_trip": 20, "distance": 20, "place": 20}
    found = {}
    for cell, policy_hash, payloads, ids in blocks:
        length = len(payloads) * 16 // len(ids)
        for at in range(len(ids) // 16):
            found[ids[16 * at : 16 * at + 16]] = (cell.metric, policy_hash, payloads[at * length : (at + 1) * length])
    assert found == {one.report_id: (one.metric, one.policy_hash, one.payload) for one in accepted}
    assert len(blocks) < REPORTS
    assert {one.cell.metric: one.sums[0] for one in cells} == {"any_trip": 20, "distance": 20, "place": 20}
    assert all(one.waiting == () for one in cells)


def test_figures_go_on_where_they_stood(fleet, where, old):
    """Copies of old reports count no more, new ones are added, refusals are repeated."""
    accepted, refused = old
    new = [fleet.report(payload=b"\x01") for _ in range(3)]
    copies = [*accepted[:9], fleet.report(report_id=refused[0], payload=b"\x01")]
    with Store(where) as store:
        receipts = fleet.receipts(fleet.pipeline(store).process([fleet.seal(one) for one in [*copies, *new]]))
    assert [one.verdict for one in receipts if one.report_id == refused[0]] == [Verdict.PAYLOAD_ILLEGAL]
    assert sum(one.verdict == Verdict.ACCEPTED for one in receipts) == 12
    results = read_metrics(where, fleet.shelf, fleet.clock.now_ms()).results
    assert {one.cell.metric: one.devices for one in results} == {"any_trip": 23, "distance": 20, "place": None}


def test_an_interrupted_step_begins_again(where, old):
    """A fault half-way leaves the old form; the next start brings it up to date."""

    def fail(_connection):
        raise ZeroDivisionError

    broken = MIGRATIONS | {"0002-blocks": (*MIGRATIONS["0002-blocks"], fail)}
    with closing(find_database(where).connect()) as connection, pytest.raises(ZeroDivisionError):
        migrate(connection, broken)
    test_nothing_is_lost(where, old)
