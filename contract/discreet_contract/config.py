"""Reading a side's own TOML file: unknown keys are errors, every fault names file and line."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from discreet_contract.errors import ConfigError
from discreet_contract.files import read_or_explain

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


def read_config(path: Path, kind: type[T], *, hint: str) -> T:
    """The configuration in `path` as a `kind` (a msgspec struct). Raises ConfigError."""
    content = read_or_explain(path, what="the configuration", hint=hint)
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}:1: not a UTF-8 text", hint=hint) from exc
    except tomllib.TOMLDecodeError as exc:
        line = re.search(r"at line (\d+)", str(exc))
        raise ConfigError(f"{path}:{line.group(1) if line else 1}: {exc}", hint="mend the TOML") from exc
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}:{_line_of(content.decode('utf-8'), str(exc))}: {exc}", hint=hint) from exc


def _line_of(text: str, message: str) -> int:
    """Line of the key that msgspec's message speaks of; 1 where the key is missing."""
    names = re.findall(r"`(?:\$\.)?([\w.]+)`", message)
    for name in reversed(names):
        key = name.split(".")[-1]
        for number, line in enumerate(text.splitlines(), start=1):
            if re.match(rf"\s*{re.escape(key)}\s*=|\s*\[{re.escape(key)}\]", line):
                return number
    return 1
