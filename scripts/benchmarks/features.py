"""What features cost: CPU per feature and event while events come in, and per read.

A real store on disk, events through the whole pipeline in groups of GROUP; what N features add to a run without any,
per feature and event. Beside it the bare limit: one counter in memory, and one upsert a feature and event in SQLite.
Medians of RUNS in turn, process time.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from nacl.signing import SigningKey

from discreet_agent.device import OpenDevice, open_device
from discreet_agent.event import EventLine
from discreet_contract.clock import ManualClock
from discreet_contract.policy.compile import build_policy
from discreet_contract.policy.read import parse_policy_text
from discreet_contract.policy.release import sign_policy, verify_policy

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 5
EVENTS = 20_000
GROUP = 1000
NOW_MS = 1_800_000_000_000
TARGET_MICROSECONDS = 5.0
KINDS: tuple[dict[str, Any], ...] = (
    {"aggregate": "count", "window": "1h"},
    {"aggregate": "sum", "value": "seconds", "window": "7d"},
    {"aggregate": "decayed_count", "half_life": "7d", "by": "genre", "top": 3},
    {"aggregate": "mean", "value": "seconds", "window": "1d"},
    {"aggregate": "max", "value": "seconds", "window": "28d"},
    {"aggregate": "quantile", "quantile": 0.9, "value": "seconds", "window": "7d"},
    {"aggregate": "active_days", "window": "28d", "where": {"==": [{"var": "evening"}, True]}},
    {"aggregate": "time_since"},
    {"aggregate": "session", "gap": "30m", "window": "7d"},
    {"aggregate": "last", "value": "genre"},
)

_HEAD = """
discreet: 1
fleet: bench
version: 1
release: {author: bench@example.org, reason: a benchmark}
consent: managed
aggregator: {keys: [{id: k, public_key: "KEY", from: 2020-01-01, until: 2099-01-01}]}
signals:
  playback.stopped:
    version: 1-0-0
    role: both
    kind: outcome
    sensitivity: sensitive
    why: A benchmark of features
    owner: bench@example.org
    expires: 2099-01-01
    retention: 14d
    fields:
      genre: {type: category, values: [news, drama, sport, music, other]}
      seconds: {type: number, min: 0, max: 86400, grid: 60}
      evening: {type: boolean}
"""


def main() -> None:
    """Measure and print two tables."""
    counts = (0, 1, 10, 50)
    groups = {GROUP: EVENTS, 1: 400}
    spent: dict[tuple[int, int], list[float]] = {(group, count): [] for group in groups for count in counts}
    reads: dict[str, list[float]] = {}
    bare: dict[str, list[float]] = {"a counter in memory": [], "an upsert in SQLite": []}
    for _ in range(RUNS):
        for group, events in groups.items():
            for count in counts:
                spent[group, count].append(_record(count, group, events, reads if group == GROUP else {}))
        bare["a counter in memory"].append(_counter())
        bare["an upsert in SQLite"].append(_upserts())
    print("| features | events a commit | µs per feature and event |\n| --- | --- | --- |")
    for group in groups:
        base = median(spent[group, 0])
        for count in counts[1:]:
            cost = (median(spent[group, count]) - base) / count
            over = " (over the target)" if group == GROUP and cost > TARGET_MICROSECONDS else ""
            print(f"| {count} | {group} | {cost:.2f}{over} |")
    for name, costs in bare.items():
        print(f"| bare: {name} | {GROUP} | {median(costs):.2f} |")
    print("\n| read | µs |\n| --- | --- |")
    for name, costs in reads.items():
        print(f"| {name} | {median(costs):.1f} |")


def _record(count: int, group: int, events: int, reads: dict[str, list[float]]) -> float:
    """CPU µs per event with so many features."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        device = stack.enter_context(open_device(folder, _policy(count), ManualClock(NOW_MS)))
        lines = [_line(number) for number in range(events)]
        begin = time.process_time()
        for at in range(0, events, group):
            device.pipeline.record(lines[at : at + group])
        spent = (time.process_time() - begin) * 1e6 / events
        if count == len(KINDS):
            _read_all(device, reads)
        return spent


def _read_all(device: OpenDevice, reads: dict[str, list[float]]) -> None:
    features = device.pipeline.features
    for name, definition in features.definitions.items():
        repeat = 20

        def read(name: str = name) -> None:
            features._kept[name].value = None
            features.read(name)

        label = f"{definition.feature.aggregate} over {definition.feature.window or 'everything'}"
        reads.setdefault(label, []).append(_timed(read, repeat))


def _timed(action: Callable[[], None], repeat: int) -> float:
    begin = time.process_time()
    for _ in range(repeat):
        action()
    return (time.process_time() - begin) * 1e6 / repeat


def _counter() -> float:
    counts: dict[str, int] = {}

    def count() -> None:
        counts["one"] = counts.get("one", 0) + 1

    return _timed(count, EVENTS)


def _upserts() -> float:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        connection = stack.enter_context(sqlite3.connect(folder / "bare.db", isolation_level=None))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE states (name TEXT, start INTEGER, count INTEGER, PRIMARY KEY (name, start))")
        begin = time.process_time()
        for _ in range(EVENTS // GROUP):
            connection.execute("BEGIN")
            for _ in range(GROUP):
                connection.execute(
                    "INSERT INTO states VALUES ('one', 0, 1) ON CONFLICT DO UPDATE SET count = count + 1"
                )
            connection.execute("COMMIT")
        return (time.process_time() - begin) * 1e6 / EVENTS


def _line(number: int) -> EventLine:
    fields = {"genre": ("news", "drama", "sport")[number % 3], "seconds": number % 3600, "evening": number % 4 == 0}
    return EventLine("playback.stopped", "1-0-0", NOW_MS - (number * 7919) % 600_000, fields)


def _policy(count: int) -> Any:
    import json

    root = SigningKey(bytes(31) + b"\1")
    features = {f"f{number}": {"from": "playback.stopped"} | KINDS[number % len(KINDS)] for number in range(count)}
    text = _HEAD.replace("KEY", "00" * 31 + "09") + f"features: {json.dumps(features)}\n"
    built = build_policy(parse_policy_text(text.encode(), "bench.yaml"))
    return verify_policy(sign_policy(built, [root]), [root.verify_key.encode().hex()])


if __name__ == "__main__":
    main()
