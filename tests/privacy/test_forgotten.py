"""P3: what is over is gone: from every byte of every file, and from what a copy of the files could give back."""

import json
import shutil
import sqlite3
import time
import zlib
from contextlib import closing

import pytest

from canaries import EVENT_ID, FORMS, NOTE, NUMBER, REFUSED, SIDE, UNDECLARED, found_in, search
from device_bench import HOUR, START, Bench, make_policy, opening
from discreet_agent.ask import ask
from discreet_agent.device import DATABASE, open_device
from discreet_agent.steps.purge import Purge
from discreet_agent.store.aside import set_aside_at_ms
from discreet_agent.store.keys import KEYS, Bucket, KeyRing, unseal
from discreet_contract.errors import StoreError

DAY = 86_400
FIELDS = """side: {type: category, values: [left, right]}
      lock: {type: category, values: [bolt, LOCK], required: false}
      note: {type: text, max_length: 64, required: false}""".replace("LOCK", SIDE)  # no report may say so by chance
METRICS = """metrics:
  sum: {from: door.opened, per_device: {sum: seconds}, type: mean, bounds: [0, 100000], window: 1h, epsilon: 1.0, OWNED}
  word: {from: door.opened, per_device: {most_frequent: note}, type: open, salt: x, dictionary: [one, two], window: 1h,
    epsilon: 1.0, OWNED}
""".replace("OWNED", "owner: a@b.c, why: in tests")
CANARIES = {"seconds": NUMBER, "side": "left", "lock": SIDE, "note": NOTE}
EVERY_KIND = (
    ("side: {type: category, values: [left, right]}", FIELDS),
    ("{type: number, min: -10, max: 100, unit: s, grid: 0.5}", "{type: number, min: 0, max: 100000, grid: 0.0625}"),
    ("metrics:\n", METRICS),
)


def canary(at, **changes):
    """An event with a canary in every kind of field, and in its id."""
    return opening(at, **({"fields": CANARIES, "id": EVENT_ID} | changes))


@pytest.fixture
def planted(tmp_path):
    """A device that holds canaries of every kind, in raw and in open windows, taken and refused; others around them."""
    bench = Bench(tmp_path / "state", policy=make_policy(edits=EVERY_KIND))
    device = bench.open()
    device.pipeline.close_windows()
    bench.at(START + 60)
    for number in range(50):
        device.pipeline.record([opening(START + number, id=f"other{number}")])
    assert device.pipeline.record([canary(START + 1)]) == [None]
    assert device.pipeline.record([canary(START + 2, id=None)]) == [None]
    refused = [
        canary(START + 3),  # a duplicate
        canary(START + 3, id=None, fields=CANARIES | {"side": REFUSED}),
        canary(START + 3, id=None, fields=CANARIES | {"seconds": -NUMBER}),
        canary(START + 3, id=None, fields=CANARIES | {"seconds": REFUSED}),
    ]
    assert None not in device.pipeline.record(refused)
    device.pipeline.record([canary(START + 4, id=None, fields=CANARIES | {UNDECLARED: UNDECLARED})])
    yield bench, device
    bench.close()


def sealed_blocks(database):
    """(bucket, sealed body) of every block in a database file, or a copy of one."""
    query = "SELECT signal, start, length, body FROM raw_blocks JOIN raw_buckets ON raw_buckets.id = bucket"
    with closing(sqlite3.connect(database)) as connection:
        return [(Bucket(*row), body) for *row, body in connection.execute(query)]


def copy_of(folder, to, *names):
    to.mkdir()
    for name in names:
        if (folder / name).exists():
            shutil.copy(folder / name, to / name)
    return to


def ring_of(folder):
    ring = KeyRing(folder / KEYS)
    ring.open()
    return ring


def opened_by(ring, blocks):
    """What any key of a ring opens of some blocks, under its own bucket's name or the block's."""
    opened = []
    for bucket, body in blocks:
        for held in ring.buckets():
            for named in (bucket, held):
                try:
                    opened.append(zlib.decompress(unseal(ring.find(held), named, body)))
                except StoreError:
                    continue
    return b"".join(opened)


def let_expire(bench, device):
    """Days pass, windows close, and the daemon's own tidying runs."""
    for days in (1, 2, 4):
        bench.at(START + days * DAY + HOUR)
        device.pipeline.close_windows()
        device.pipeline.record([opening(START + days * DAY + HOUR - 1, id=f"later{days}")])
        device.pipeline.forget()


def test_the_search_finds_canaries_where_they_are(planted, tmp_path):
    """In blocks opened with the device's keys: every kind; in the files as they lie: none that an event brought.

    The states of open windows are counts, sums and indexes; the sum is the one canary that they hold.
    """
    bench, _ = planted
    copy = copy_of(bench.folder, tmp_path / "copy", DATABASE, f"{DATABASE}-wal", KEYS)
    opened = opened_by(ring_of(copy), sealed_blocks(copy / DATABASE))
    assert {form.split(" ")[0] for form in found_in(opened)} >= {NOTE, SIDE, EVENT_ID, "number"}
    in_files = {form for forms in search(bench.folder).values() for form in forms}
    assert {form for form in in_files if "canary" in form} == set()
    for name, form in FORMS.items():
        assert found_in(b"before " + form + b" after") >= {name}
        assert f"packed {name}" in found_in(b"junk" + zlib.compress(b"before " + form + b" after") + b"junk")


def test_nothing_that_is_over_is_left_in_any_byte(planted):
    """Database, log, journal, key file, free pages: while it runs, when it is closed, and opened again."""
    bench, device = planted
    let_expire(bench, device)
    assert "later4" in {event.id for event in device.store.raw.events()}
    assert search(bench.folder) == {}
    bench.close()
    assert search(bench.folder) == {}
    bench.open()
    assert search(bench.folder) == {}


def test_a_copy_from_before_opens_with_nothing_the_device_still_has(planted, tmp_path):
    """Database, log and shared memory, copied while the events were there; no key, new or old, is left for them."""
    bench, device = planted
    names = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm")
    before = copy_of(bench.folder, tmp_path / "before", *names, KEYS)
    old_ring, old_key_file = ring_of(before), (before / KEYS).read_bytes()
    blocks = sealed_blocks(before / DATABASE)
    assert found_in(opened_by(old_ring, blocks))  # in time, it could be opened

    let_expire(bench, device)
    bench.close()
    assert opened_by(ring_of(bench.folder), blocks) == b""
    keys = [old_ring.find(bucket) for bucket in old_ring.buckets()]
    for path in bench.folder.rglob("*"):
        content = path.read_bytes()
        assert not [key for key in keys if key in content or key.hex().encode() in content], path.name
        assert old_key_file[10:] not in content, path.name

    (before / KEYS).unlink()
    for name in ("identity", "ledger.head", KEYS):  # everything that the device still has, put beside the copy
        shutil.copy(bench.folder / name, before / name)
    bench.at(START + 60)
    with open_device(before, bench.policy, bench.clock) as device:
        assert list(device.store.raw.events()) == []


def test_a_purge_leaves_nothing_either(planted):
    """The owner's word, long before anything is over."""
    bench, device = planted
    device.pipeline.purge(Purge())
    assert search(bench.folder) == {}


def test_a_database_that_was_set_aside_holds_nothing_that_opens(planted):
    """Its keys are destroyed when the new one is begun; what was in its open windows goes with it."""
    bench, _ = planted
    bench.close()
    database = bench.folder / DATABASE
    with database.open("r+b") as file:
        file.write(b"no format that anybody knows")
    bench.open()
    assert set_aside_at_ms(database) is not None
    assert ring_of(bench.folder).buckets() == set()
    found = {form for forms in search(bench.folder).values() for form in forms}
    assert {form for form in found if "canary" in form} == set()


@pytest.mark.slow
def test_a_real_daemon_forgets_on_time_and_logs_nothing(lone):
    """Half a minute of retention, the wall clock, the daemon's own timer; its log is searched too."""
    (lone.folder / "policy.json").write_bytes(lone.release(("retention: 2d", "retention: 30s")))
    lone.start_agent()
    lone.wait_until(lambda: lone.asked().get("store") == "ok", "the agent works")
    for number in range(20):
        line = {"signal": "door.opened", "version": "1-0-0", "time": time.time_ns() // 1_000_000}
        line |= {"id": f"{EVENT_ID}-{number}", "fields": {"seconds": NUMBER, "side": "left"}}
        assert ask(lone.socket, json.dumps(line).encode()) == {"ok": 1}
        ask(lone.socket, json.dumps(line | {"fields": {"seconds": REFUSED, "side": REFUSED}}).encode())
    lone.wait_until(lambda: lone.asked()["raw"]["events"] == 0, "all is forgotten", 90)
    time.sleep(5)
    found = search(lone.folder / "agent")
    assert {form for forms in found.values() for form in forms if "canary" in form} == set()
    assert found_in((lone.folder / "agent.log").read_bytes()) == set()
    assert lone.stop("agent") == 0
