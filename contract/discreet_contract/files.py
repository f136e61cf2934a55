"""Small files that must be whole or absent: temp, fsync, rename, fsync the directory."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from discreet_contract.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


_PASSING = frozenset(
    (
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),  # the disk: full, read-only, failing
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS),  # the machine: short of something
        *(errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE),
    )
)


def may_pass(exc: OSError) -> bool:
    """Whether trying again later may help, without anybody changing this program's configuration or files."""
    return exc.errno in _PASSING


def write_durably(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` so that a power cut leaves the old content or the new one, never neither."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a buffered file repeats short writes or raises
            os.fchmod(descriptor, mode)
            if os.geteuid() == 0:  # what root writes for a service, the service must be able to read
                owner = path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_or_explain(path: Path, content: bytes, *, what: str, hint: str, mode: int = 0o600) -> None:
    """Write a file an operator named, durably; a failure says what it was for and what to do."""
    try:
        write_durably(path, content, mode=mode)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot write {what}: {exc.strerror}", hint=hint) from exc


def sync_directory(path: Path) -> None:
    """Make a rename or creation in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_or_explain(path: Path, *, what: str, hint: str) -> bytes:
    """Read a file an operator named; a failure says what it was for and what to do."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}:1: cannot read {what}: {exc.strerror}", hint=hint) from exc
