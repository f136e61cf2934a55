"""What holds both sides together finds each thing that could be wrong, in copies of a real run that went well."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from deployment import METRICS, Deployment
from discreet_aggregator.store.reader import Reader
from exactly import differences, read_charges, read_counted

WINDOWS = 3
WRONGED = {
    "lost": "delete from archive where id = (select max(id) from archive)",
    "counted twice": """
        insert into archive (received_at_ms, cell, policy_hash, reports, payloads, report_ids)
        select received_at_ms, cell, policy_hash, reports, payloads, report_ids from archive limit 1
    """,
    "nobody's": "update archive set report_ids = zeroblob(16 * reports) where id = (select max(id) from archive)",
    "sums of": "update sums set sums = zeroblob(length(sums)) where cell = (select min(cell) from sums)",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A device's charges, what the aggregator holds of them, and the deployment they come from, which has ended."""
    deployment = Deployment(tmp_path_factory.mktemp("well"), "embedded")
    try:
        deployment.start_broker()
        charges, counted = go_well(deployment)
    finally:
        deployment.close()
    assert differences(charges, counted, deployment.policy) == []
    return charges, counted, deployment


def go_well(deployment):
    """Some windows, sent and counted by real processes without any fault."""
    reports = WINDOWS * len(METRICS)
    deployment.deliver(("per_28_days: 100000", f"per_28_days: {reports}"))  # so that no later window adds to them
    deployment.seed(windows=WINDOWS)
    deployment.start_aggregator()
    deployment.start_agent()
    deployment.wait_until(lambda: deployment.made() == reports and deployment.waiting() == 0, "all is settled", 60)
    assert deployment.stop("agent") == 0
    assert deployment.stop("aggregator") == 0
    charges = read_charges(deployment.folder / "agent", "crashers")
    with deployment.reader() as reader:
        return charges, read_counted(reader)


def test_a_report_in_another_state(both):
    """Lost, counted twice, nobody's, altered, unsettled, forgotten, and a cap that was passed."""
    charges, counted, deployment = both
    one, *others = counted.archived
    first, *rest = charges
    spoilt = {
        "lost": (charges, replace(counted, archived=tuple(others))),
        "counted twice": (charges, replace(counted, archived=(one, one, *others))),
        "nobody's": (rest, counted),
        "not what": (charges, replace(counted, archived=(replace(one, payload=b"other"), *others))),
        "not settled": ([replace(first, verdict=None), *rest], counted),
        "ids are remembered": (charges, replace(counted, seen_ids=counted.seen_ids + 1)),
        "charged twice": ([first, *charges], counted),
        "sums of": (charges, replace(counted, sums={cell: (2, *sums[1:]) for cell, sums in counted.sums.items()})),
    }
    for words, (charged, held) in spoilt.items():
        found = differences(charged, held, deployment.policy)
        assert any(line.startswith(words) or words in line for line in found), words
    assert differences(charges, counted, deployment.policy, sum(charge.nano for charge in charges)) == []
    [passed] = differences(charges, counted, deployment.policy, sum(charge.nano for charge in charges) - 1)
    assert passed.startswith("cap passed")


def test_a_row_of_the_database_is_wrong(both, tmp_path):
    """The same where it is the database that was changed."""
    charges, _, deployment = both
    for number, (words, statement) in enumerate(WRONGED.items()):
        copy = tmp_path / f"copy{number}.db"
        shutil.copy(deployment.folder / "aggregator/aggregator.db", copy)
        with closing(sqlite3.connect(copy)) as connection, connection:
            assert connection.execute(statement).rowcount == 1
        with Reader(copy) as reader:
            found = differences(charges, read_counted(reader), deployment.policy)
        assert any(line.startswith(words) for line in found), (words, found)
