"""A side's state folder: for its owner's eyes only, and held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from discreet_contract.errors import ConfigError, RetryableError
from discreet_contract.files import may_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HINT = "set `state_dir` to a folder that you own"


def make_state_folder(path: Path) -> None:
    """Make the folder where it is missing, mode 0700. Raises ConfigError, or RetryableError where the disk fails."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise _failure(exc)(f"cannot make {path}: {exc.strerror}", hint=_HINT) from exc


def is_held(path: Path) -> bool:
    """Whether a process is at work in the folder now."""
    try:
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise ConfigError(f"cannot look into {path}: {exc.strerror}", hint=_HINT) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def hold_state_folder(path: Path, *, who: str) -> Iterator[None]:
    """Make and lock the folder; the kernel lets go of it however the process ends. Raises ConfigError if it is held."""
    make_state_folder(path)
    try:
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _failure(exc)(f"cannot write in {path}: {exc.strerror}", hint=_HINT) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise ConfigError(f"{path}: another {who} is at work here", hint="stop it, or set another `state_dir`") from exc
    try:
        yield
    finally:
        os.close(descriptor)


def _failure(exc: OSError) -> type[ConfigError | RetryableError]:
    return RetryableError if may_pass(exc) else ConfigError
