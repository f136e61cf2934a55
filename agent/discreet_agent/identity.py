"""The device's secret: 32 random bytes that name its reports and never leave. Kept beside the database, mode 0600.

The file also says that a ledger's head was made with it. So a secret whose head is gone is told
apart from one of an earlier version, which kept no head yet and gets one once.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from discreet_contract.errors import RetryableError, StoreError
from discreet_contract.files import may_pass, write_durably

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = "identity"
SECRET_BYTES = 32
_WITH_HEAD = "with ledger.head"
_LOST = "restore it, or delete the whole state folder: a new secret beside the old ledger would report twice"


@dataclass(frozen=True, slots=True)
class Identity:
    """The secret, and whether a ledger's head was made with it."""

    secret: bytes
    has_head: bool

    def __repr__(self) -> str:
        return f"Identity(has_head={self.has_head})"


def read_identity(state_dir: Path) -> Identity | None:
    """The device's secret, or None where there is none yet. Raises StoreError where the file is none.

    Raises RetryableError where it cannot be read now.
    """
    path = state_dir / IDENTITY
    try:
        first, _, rest = path.read_text(encoding="ascii").strip().partition("\n")
        secret = bytes.fromhex(first)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        if isinstance(exc, OSError) and may_pass(exc):
            raise RetryableError(f"{path}: cannot be read: {exc.strerror}", hint="look at the disk") from exc
        raise StoreError(f"{path} cannot be read as a device secret", hint=_LOST) from exc
    if len(secret) != SECRET_BYTES or rest not in {"", _WITH_HEAD}:
        raise StoreError(f"{path} is not a device secret of {SECRET_BYTES} bytes", hint=_LOST)
    return Identity(secret, rest == _WITH_HEAD)


def keep_identity(state_dir: Path, secret: bytes) -> None:
    """Make a secret durable; its ledger's head must be on disk already. Raises RetryableError."""
    path = state_dir / IDENTITY
    try:
        write_durably(path, f"{secret.hex()}\n{_WITH_HEAD}\n".encode())
    except OSError as exc:
        raise RetryableError(f"{path}: cannot be written: {exc.strerror}", hint="free the disk") from exc


def mark_of(secret: bytes) -> str:
    """Names a device in its own files without giving the secret away: a keyed hash, hex."""
    return hashlib.blake2b(b"", key=secret, digest_size=16, person=b"discreet-device").hexdigest()


def new_secret() -> bytes:
    """A secret for a new device."""
    return secrets.token_bytes(SECRET_BYTES)


def lost(state_dir: Path) -> StoreError:
    """A ledger is there, and the secret it belongs to is gone."""
    return StoreError(f"{state_dir / IDENTITY} is gone, and charges were made with it", hint=_LOST)
