"""The owner's word to forget, as a small file: a running agent obeys it within a second, then removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from discreet_agent.steps.purge import Purge
from discreet_contract.errors import StoreError
from discreet_contract.files import sync_directory, write_durably

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = "purge.json"


def leave_request(state_dir: Path, purge: Purge) -> None:
    """Ask a running agent. Raises StoreError where an earlier request still waits."""
    path = state_dir / REQUEST
    if path.exists():
        raise StoreError(f"{path} still waits to be obeyed", hint="look at `discreet agent status`, then try again")
    write_durably(path, msgspec.json.encode(purge))


def is_waiting(state_dir: Path) -> bool:
    """Whether a request was not obeyed yet."""
    return (state_dir / REQUEST).exists()


def read_request(state_dir: Path) -> Purge | None:
    """What is asked, or None. Raises StoreError where it cannot be read."""
    try:
        return msgspec.json.decode((state_dir / REQUEST).read_bytes(), type=Purge)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as exc:
        raise StoreError(f"{state_dir / REQUEST} is no request", hint="delete it, and say `purge` again") from exc


def mark_obeyed(state_dir: Path) -> None:
    """It was carried out, down to the last page."""
    (state_dir / REQUEST).unlink(missing_ok=True)
    sync_directory(state_dir)
