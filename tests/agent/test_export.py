"""The export: everything held, readable, whatever state the database is in."""

import json

from device_bench import START, damage_block, opening
from discreet_agent.export import describe_tables, export


def test_a_damaged_block_is_named_and_the_rest_is_exported(bench, device):
    """Who asks what is held gets all that can be read, and is told what cannot."""
    bench.at(START + 10)
    for number in range(3):
        device.pipeline.record([opening(START + number, id=f"{number}")])
    damage_block(device)
    rows = list(export(bench.folder))
    assert [row["id"] for row in rows if row["table"] == "raw_events"] == ["1", "2"]
    assert {"table": "raw_events_damaged", "signal": "door.opened", "events": 1} in rows
    json.dumps(rows)


def test_what_is_packed_is_shown_unpacked(bench, device):
    """A mean in a blob is not readable to anybody."""
    with device.store.transaction():
        device.store.connection.execute(
            "INSERT INTO baselines VALUES ('door.opened', 5, 2, x'81a77365636f6e6473ca3fc00000')"
        )
    [row] = [row for row in export(bench.folder) if row["table"] == "baselines"]
    assert row["means"] == {"seconds": 1.5}


def test_a_corrupt_database_is_said_to_be_one(bench):
    """By `inspect`, in words rather than by SQLite's exception."""
    bench.open()
    bench.close()
    with (bench.folder / "agent.db").open("r+b") as file:
        file.write(b"this is no database at all")
    tables, found = describe_tables(bench.folder)
    assert tables == []
    assert found
