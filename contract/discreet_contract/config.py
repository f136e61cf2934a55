"""Reading a side's own TOML file: unknown keys are errors, every fault names file and line."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from discreet_contract.errors import ConfigError
from discreet_contract.files import read_or_explain

T = TypeVar("T")


def find_config(named: Path | None, file: str, *, hint: str) -> Path:
    """--config, else the user's, else the machine's; `file` is agent.toml or aggregator.toml. Raises ConfigError."""
    if named is not None:
        return named
    user = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "discreet" / file
    machine = Path("/etc/discreet") / file
    for path in (user, machine):
        if path.is_file():
            return path
    raise ConfigError(f"no configuration at {user} or {machine}", hint=f"write one or name it with --config; {hint}")


def read_config(path: Path, kind: type[T], *, hint: str) -> T:
    """The configuration in `path` as a `kind` (a msgspec struct). Raises ConfigError."""
    content = read_or_explain(path, what="the configuration", hint=hint)
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}:1: not a UTF-8 text", hint=hint) from exc
    except tomllib.TOMLDecodeError as exc:
        line = re.search(r"at line (\d+)", str(exc))  # else it is the end of the document
        number = line.group(1) if line else len(content.splitlines())
        raise ConfigError(f"{path}:{number}: {exc}", hint="mend the TOML") from exc
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}:{_line_of(content.decode('utf-8'), str(exc))}: {exc}", hint=hint) from exc


def _line_of(text: str, message: str) -> int:
    """Line of the key that msgspec's message speaks of, or of the nearest table around it; 1 where there is none."""
    at = re.search(r"at `\$\.?([^`]*)`", message)
    path = _keys(re.sub(r"\[[^]]*\]", "", at.group(1))) if at else ()
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown:
        path = (*path, unknown.group(1))
    places = _places(text)
    return next((places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places), 1)


def _places(text: str) -> dict[tuple[str, ...], int]:
    """Line of every table and key that stands at the start of a line."""
    table: tuple[str, ...] = ()
    places: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+([^\[\]=,]+)\]+\s*(#.*)?$", line):
            table = _keys(header.group(1))
            places.setdefault(table, number)
        elif key := re.match(r"""\s*([\w."'-]+)\s*=""", line):
            places.setdefault((*table, *_keys(key.group(1))), number)
    return places


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"' ") for part in dotted.split(".")) if dotted else ()
