"""The bare limit, run by record.py in a process of its own: the same events as rows of an ordinary indexed table.

python recorder_bare.py LINES BATCH FOLDER. Rows are made before the clock starts: no socket, no decoding, no
validation, no features. One transaction for each batch, with the pragmas of the agent's own database.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path

from discreet_agent.store.store import _PRAGMAS

TABLE = """
CREATE TABLE events (
    signal TEXT NOT NULL,
    version TEXT NOT NULL,
    time INTEGER NOT NULL,
    id TEXT,
    fields TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (signal, time);
CREATE UNIQUE INDEX events_by_id ON events (id);
"""


def main(lines: Path, batch: int, folder: Path) -> None:
    """Insert, close, and say what it took."""
    rows = [_row(line) for line in lines.read_bytes().splitlines()]
    connection = sqlite3.connect(folder / "events.db", isolation_level=None)
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.executescript(TABLE)
    commits: list[float] = []
    began, cpu_before, bytes_before = time.perf_counter(), time.process_time(), _write_bytes()
    for first in range(0, len(rows), batch):
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows[first : first + batch])
        connection.execute("COMMIT")
        commits.append(time.perf_counter() - start)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu_before
    connection.close()  # folds the log back: those bytes belong to the events too
    print(
        json.dumps(
            {"seconds": took, "cpu_seconds": cpu, "write_bytes": _write_bytes() - bytes_before, "stalls": commits}
        )
    )


def _row(line: bytes) -> tuple[str, str, int, str | None, str]:
    event = json.loads(line)
    return event["signal"], event["version"], event["time"], event.get("id"), json.dumps(event["fields"])


def _write_bytes() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("write_bytes")).split()[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
