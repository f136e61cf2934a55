"""The device's secret: 32 random bytes that name its reports and never leave. Kept beside the database, mode 0600."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from discreet_contract.errors import StoreError
from discreet_contract.files import write_durably

if TYPE_CHECKING:
    from pathlib import Path

SECRET_BYTES = 32


def load_secret(state_dir: Path) -> bytes:
    """The device's secret, made at first use."""
    path = state_dir / "identity"
    if not path.exists():
        write_durably(path, secrets.token_bytes(SECRET_BYTES).hex().encode())
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as exc:
        raise StoreError(
            f"{path} cannot be read as a device secret", hint="restore it; a new one would report twice"
        ) from exc
    if len(secret) != SECRET_BYTES:
        raise StoreError(f"{path} is not {SECRET_BYTES} bytes", hint="restore it; a new one would report twice")
    return secret
