"""Everything that is held about this device, readable, one JSON object a line.

Reads beside a running agent. What must stay secret to stay useful is left out: the device's secret, the raw layer's
keys, receipt keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlite_utils import Database

from discreet_agent.store.connection import connect_for_reading
from discreet_agent.store.keys import KEYS, KeyRing, handed_over
from discreet_agent.store.raw import RawLog
from discreet_agent.store.schema import MIGRATIONS
from discreet_contract.errors import ConfigError, CorruptStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "agent.db"
_SEALED = {"raw_blocks", "raw_blocks_unsealed"}
_NEVER_SAID = {"retracts", "late"}
_SECRET = {"receipt_key"}
_PACKED = {
    *(("meta", "value"), ("tallies", "state"), ("baselines", "means"), ("feature_states", "state")),
    *(("pins", "value"), ("flag_marks", "value"), ("flag_marks", "former_value")),
}


def open_for_reading(state_dir: Path) -> Database:
    """The device's database, beside a running agent or without one. Raises ConfigError where there is none to read."""
    path = state_dir / DATABASE
    if not path.exists():
        raise ConfigError(f"no database at {path}", hint="run the agent once, or name its configuration with --config")
    connection = connect_for_reading(path)
    [applied] = connection.execute("PRAGMA user_version").fetchone()
    if applied < len(MIGRATIONS):
        hint = "start the agent, of this version, once: it brings its database up to date and keeps everything in it"
        raise ConfigError(f"{path} was written by an older version", hint=hint)
    if applied > len(MIGRATIONS):
        raise ConfigError(f"{path} was written by a newer version", hint="use the command of that version")
    return Database(connection)


def export(state_dir: Path) -> Iterator[dict[str, Any]]:
    """One object for each raw event and each row of every other table, under the name of its table."""
    database = open_for_reading(state_dir)
    keys = KeyRing(state_dir / KEYS, handed_over())
    keys.open()
    raw = RawLog(database.conn, keys)
    for block in raw.every():
        events = raw.readable(block)
        if block.events and not events:  # damaged, or its key is destroyed or lost
            yield {"table": "raw_events_unreadable", "signal": block.bucket.signal, "events": block.events}
        for event in events or ():
            fields = {name: value for name, value in msgspec.structs.asdict(event).items() if name not in _NEVER_SAID}
            yield {"table": "raw_events"} | fields
    for name in database.table_names():
        if name not in _SEALED:
            for row in database[name].rows:
                yield {"table": name} | {column: _shown(name, column, value) for column, value in row.items()}
    consent = state_dir / "consent.json"
    if consent.exists():
        yield {"table": "consent"} | msgspec.json.decode(consent.read_bytes())


def describe_tables(state_dir: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Each table with its rows, and what SQLite's own check finds wrong (nothing in a sound database)."""
    try:
        database = open_for_reading(state_dir)
        tables = [{"table": name, "rows": database[name].count} for name in database.table_names()]
        found = [text for [text] in database.execute("PRAGMA integrity_check").fetchall() if text != "ok"]
    except CorruptStoreError as exc:
        return [], [str(exc)]
    return tables, found


def _shown(table: str, column: str, value: Any) -> Any:
    if column in _SECRET:
        return "(left out)"
    if isinstance(value, bytes):
        return _plain(msgspec.msgpack.decode(value)) if (table, column) in _PACKED else value.hex()
    return value


def _plain(value: Any) -> Any:
    """MessagePack builtins as JSON has them: text as keys, hex for bytes."""
    match value:
        case bytes():
            return value.hex()
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value
