"""Lives of a device under file faults: compiles the library of `file_faults/`, runs lives, judges what they leave."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from device_bench import START
from discreet_agent.device import open_device
from discreet_agent.store.head import HEAD, read_head
from discreet_agent.tally import conclude
from discreet_contract.clock import ManualClock, window_start
from file_faults.stricken import DAY, GROUPS, doors, is_stored, policy

SOURCE = Path(__file__).with_name("file_faults") / "faults.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
ALL_IDS = {line.id for group in GROUPS for lines in doors(group) for line in lines}


def compile_library(folder):
    """The preloaded library, for this machine."""
    library = folder / "faults.so"
    command = [COMPILER, "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return library


class Lives:
    """A process that lives one life after another, each in a fork of its own."""

    def __init__(self, library, folder):
        self.folder = folder
        command = [sys.executable, SOURCE.with_name("stricken.py")]
        environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": str(Path(__file__).parent)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def close(self):
        """End it."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)

    def live(self, kind, at):
        """One life in a folder of its own, struck at one operation (0: never)."""
        folder = self.folder / f"{kind}-{at}"
        self.process.stdin.write(json.dumps({"folder": str(folder), "kind": kind, "at": at}) + "\n")
        self.process.stdin.flush()
        return Left(folder, int(self.process.stdout.readline()))


class Left:
    """What a life left behind."""

    def __init__(self, folder, code):
        self.folder = folder
        self.was_killed = code == -9
        facts = Path(f"{folder}.facts")
        assert self.was_killed or (code == 0 and facts.exists()), f"{folder.name} ended with {code}: see standard error"
        self.facts = {"ended": "killed"} if self.was_killed else json.loads(facts.read_text())
        self.was_struck = self.was_killed or self.facts["struck"] > 0
        self.acknowledged = Path(f"{folder}.acknowledged").read_text().split()

    def check(self):
        """Reopened without faults: whole, true to what was acknowledged; and the life goes on to its good end."""
        clock = ManualClock((START + DAY + 1000) * 1000)
        with open_device(self.folder, policy(2), clock) as device:
            assert device.store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            check_events(device, self.acknowledged)
            check_releases(device, self.folder)
            for group in GROUPS:
                for lines in doors(group):
                    assert all(map(is_stored, device.pipeline.record(lines)))
            device.pipeline.forget()
            stored = check_events(device, self.acknowledged)
            assert set(stored) == ALL_IDS
            assert device.store.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        shutil.rmtree(self.folder)


def check_events(device, acknowledged):
    """Each acknowledged event once in raw and in the tallies of windows that are open; nothing twice."""
    events = list(device.store.raw.events())
    stored = [event.id for event in events]
    assert len(stored) == len(set(stored))
    assert {name for name in acknowledged if not name.startswith("lamp")} <= set(stored)
    counters = device.store.counters()
    forgotten = counters.get("events_forgotten", {}).get("", 0)
    kept = sum(bucket.events for bucket in device.store.raw.buckets())  # being forgotten, too
    assert counters.get("events_accepted", {}).get("", 0) == kept + forgotten
    check_tallies(device, events)
    return stored


def check_tallies(device, events):
    """How often the door was opened, as the open windows say and as the events do."""
    doors_opened = Counter(window_start(e.time_ms // 1000, DAY) for e in events if e.signal == "door.opened")
    plan = policy(2).plans["openings"]
    scheduled = device.store.tallies.scheduled("openings")
    for start in (START, START + DAY):
        if scheduled is None or start >= scheduled.next_window:
            counted = conclude(plan, device.store.tallies.load("openings", plan.version, start))
            assert counted == doors_opened[start], start


def check_releases(device, folder):
    """Windows that are over close once; the ledger and its head agree; every charge has its one report."""
    assert device.pipeline.halted is None, device.pipeline.halted
    device.pipeline.close_windows()
    assert device.pipeline.halted is None, device.pipeline.halted
    device.store.ledger.verify()
    head, last = read_head(folder / HEAD), device.store.ledger.head()
    assert (head.sequence, head.digest) == (last.sequence, last.digest)
    charged = [(entry.metric, entry.window_start) for entry in device.store.ledger.entries()]
    assert len(charged) == len(set(charged))
    assert sorted((row["metric"], row["window_start"]) for row in device.store.outbox.history()) == sorted(charged)
