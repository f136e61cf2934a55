"""A database whose bytes are not what SQLite wrote: set aside, counted, begun anew; what was charged stays charged."""

import random
import sqlite3

import pytest

from device_bench import HOUR, START, opening
from discreet_agent.device import DATABASE, open_device
from discreet_agent.store.aside import LONGEST_SECONDS, forget_old_copy, set_aside_at_ms
from discreet_agent.store.head import Halt
from discreet_contract.errors import CorruptStoreError, StoreError

NONSENSE = bytes(range(97, 97 + 16))


@pytest.fixture
def charged(bench):
    """A closed device that has reported one window and holds some events."""
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + HOUR - 60)
    device.pipeline.record([opening(START + number, id=f"early{number}") for number in range(300)])
    bench.at(START + HOUR + 61)
    assert device.pipeline.close_windows() == 3
    bench.close()
    return bench.folder / DATABASE


def overwrite(path, at, content=NONSENSE):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def root_page(database, table):
    """Where the pages of a table begin, in bytes."""
    connection = sqlite3.connect(database)
    [page] = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    return (page - 1) * size


def check_begun_anew(bench, device, times=1):
    """Empty, counted, receiving; releases stopped because the head names charges that are not in it."""
    assert device.store.counters()["databases_set_aside"] == {"": times}
    assert device.pipeline.halted.reason is Halt.LEDGER_MISSING
    assert device.pipeline.record([opening(START + HOUR + 5)]) == [None]
    bench.at(START + 3 * HOUR)
    assert device.pipeline.close_windows() == 0
    assert device.pipeline.publishable(10) == []
    assert device.store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("at", [0, 20, 100])
def test_a_broken_header_is_found_at_opening(bench, charged, at):
    """The name of the format, its numbers, the schema's first page."""
    before = charged.read_bytes()
    overwrite(charged, at, NONSENSE * 4)
    check_begun_anew(bench, bench.open())
    aside = charged.with_name("agent.db.corrupt").read_bytes()
    assert (len(aside), aside != before) == (len(before), True)
    bench.close()
    device = bench.open()  # and the next start finds the new one in order, and counts nothing again
    assert device.store.counters()["databases_set_aside"] == {"": 1}


def test_a_file_that_is_no_database_is_set_aside(bench, charged):
    charged.write_bytes(b"not a database at all" * 1000)
    check_begun_anew(bench, bench.open())


@pytest.mark.parametrize("table", ["tallies", "raw_blocks", "counters"])
def test_a_page_that_is_met_while_at_work_ends_the_work_and_the_next_opening_begins_anew(bench, charged, table):
    """What is broken shows when it is touched."""
    overwrite(charged, root_page(charged, table), NONSENSE * 16)
    with (
        pytest.raises(CorruptStoreError) as met,
        open_device(bench.folder, bench.policy, bench.clock) as device,
    ):
        device.pipeline.record([opening(START + HOUR + 1, id="late")])
        list(device.store.raw.events())
        device.store.counters()
    assert "set" in met.value.hint
    assert charged.with_name("agent.db.corrupt").exists()
    check_begun_anew(bench, bench.open())


def test_a_device_that_never_reported_goes_on_releasing(bench):
    """Nothing was charged, so nothing can be charged twice."""
    device = bench.open()
    device.pipeline.close_windows()
    bench.close()
    overwrite(bench.folder / DATABASE, 0)
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + HOUR + 61)
    assert device.pipeline.halted is None
    assert device.pipeline.close_windows() == 3


@pytest.mark.parametrize("places", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_bytes_flipped_anywhere_never_end_in_an_exception_that_nobody_expects(bench, charged, places):
    """At many places: the device goes on, or halts its releases, or sets the database aside. No cap is forgotten."""
    whole = charged.read_bytes()
    chance = random.Random(places)  # noqa: S311 - which bytes to spoil
    outcomes = set()
    for _ in range(places):
        spoilt = bytearray(whole)
        at = chance.randrange(len(spoilt) - 64)
        spoilt[at : at + 8] = chance.randbytes(8)
        charged.write_bytes(spoilt)
        outcomes.add(outcome(bench))
        for left in bench.folder.glob(f"{DATABASE}*"):
            left.unlink()
    assert "set aside" in outcomes, outcomes


def outcome(bench):
    """What comes of a spoilt database in some hours of work; a second report for a window never does."""
    bench.at(START + HOUR + 61)
    try:
        with open_device(bench.folder, bench.policy, bench.clock) as device:
            device.pipeline.record([opening(START + HOUR + 60, id="new")])
            list(device.store.raw.events())
            bench.at(START + 2 * HOUR + 61)
            device.pipeline.close_windows()
            device.pipeline.forget()
            counted = device.store.counters()
            windows = [(row["metric"], row["window_start"]) for row in device.store.outbox.history()]
            assert len(windows) == len(set(windows))
            if "databases_set_aside" in counted or device.pipeline.halted is not None:
                assert not [row for row in windows if row[1] == START and "databases_set_aside" in counted]
                return "set aside" if "databases_set_aside" in counted else str(device.pipeline.halted.reason)
    except StoreError as exc:
        return "set aside" if isinstance(exc, CorruptStoreError) else str(exc).split(": ")[-1]
    return "went on"


# --- the copy is forgotten too (P3)


def test_the_copy_goes_with_the_shortest_retention(bench, charged):
    """Or after a day, whichever is sooner; and at once when the clock is before the time it was made at."""
    overwrite(charged, 0)
    bench.open()
    made_ms = set_aside_at_ms(charged)
    assert made_ms == bench.clock.now_ms()
    assert not forget_old_copy(charged, HOUR, made_ms + HOUR * 1000 - 1)
    assert forget_old_copy(charged, HOUR, made_ms + HOUR * 1000)
    assert [path.name for path in bench.folder.glob("*.corrupt*")] == []
    assert not forget_old_copy(charged, HOUR, made_ms + 2 * HOUR * 1000)


@pytest.mark.parametrize("now", [-1, LONGEST_SECONDS * 1000])
def test_the_copy_is_kept_a_day_at_most(bench, charged, now):
    overwrite(charged, 0)
    bench.open()
    assert forget_old_copy(charged, 90 * LONGEST_SECONDS, set_aside_at_ms(charged) + now)


def test_only_the_latest_copy_is_kept(bench, charged):
    """With its log; each is counted in the database that took its place."""
    for _ in range(2):
        overwrite(charged, 0)
        bench.open()
        bench.close()
        bench.clock.ms += 1000
    assert [path.name for path in bench.folder.glob("*.corrupt")] == ["agent.db.corrupt"]
    assert set_aside_at_ms(charged) == bench.clock.ms - 1000


@pytest.mark.parametrize("left", [0, 31, 32, 5000, 0.3, 0.7, -1])
def test_a_log_that_was_cut_short_loses_its_end_only(bench, device, left):
    """What stands whole in it is kept, exactly once; charges that are gone stop releases."""
    bench.at(START + HOUR - 60)
    for number in range(20):
        device.pipeline.record([opening(START + number, id=f"e{number}")])
    bench.at(START + HOUR + 61)
    device.pipeline.close_windows()
    log = bench.folder / f"{DATABASE}-wal"
    database, content = (bench.folder / DATABASE).read_bytes(), log.read_bytes()
    bench.close()
    (bench.folder / DATABASE).write_bytes(database)
    log.write_bytes(content[: round(left * len(content)) if isinstance(left, float) else left])
    device = bench.open()
    stored = [event.id for event in device.store.raw.events()]
    assert stored == [f"e{number}" for number in range(len(stored))]
    assert device.pipeline.record([opening(START + HOUR + 1)]) == [None]
    if left != -1:
        assert device.pipeline.halted.reason in {Halt.LEDGER_OLDER, Halt.LEDGER_MISSING}
        assert device.pipeline.publishable(10) == []
