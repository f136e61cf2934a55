"""The aggregator's private keys: one file `<id>.key` each, X25519, hex, readable by its owner only.

Keys are never overwritten: an envelope sealed to a lost key can never be opened again. One that
nothing is sealed to any more is destroyed on purpose (`destroy_key`), so that what was recorded on the way
stays closed for ever.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from nacl.public import PrivateKey

from discreet_contract.envelope import encode_key_id
from discreet_contract.errors import ConfigError
from discreet_contract.files import read_or_explain, sync_directory, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterator

_ID = re.compile(r"[a-z0-9-]{1,8}")  # the policy language's KeyId
_NEW_HINT = "make one with `discreet aggregator keys new KEY_ID`"


def new_key(keys_dir: Path, key_id: str) -> str:
    """Create `<key_id>.key` (mode 0600), which must not exist yet; returns the public key in hex."""
    _check_id(key_id)
    path = keys_dir / f"{key_id}.key"
    if path.exists():
        raise ConfigError(f"{path} exists", hint="choose another id: a key is never overwritten")
    keys_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = PrivateKey.generate()
    write_durably(path, key.encode().hex().encode() + b"\n")
    return key.public_key.encode().hex()


def load_keys(keys_dir: Path) -> dict[bytes, PrivateKey]:
    """Every private key in the folder by its encoded id. Raises ConfigError; at least one key is needed."""
    return KeyFolder(keys_dir).load()


def load_key(keys_dir: Path, key_id: str) -> PrivateKey:
    """One private key. Raises ConfigError where it is not here, or not for its owner alone."""
    return _read_key(keys_dir / f"{_check_id(key_id)}.key")


class KeyFolder:
    """Where private keys lie: a folder of files, to which some are added and from which some are taken."""

    def __init__(self, keys_dir: Path) -> None:
        self._keys_dir = keys_dir
        self._stamps: dict[Path, tuple[int, ...]] = {}

    def load(self) -> dict[bytes, PrivateKey]:
        """Every key by its encoded id. Raises ConfigError, and then `have_changed` stays as it was."""
        stamps = self._look()
        keys = {encode_key_id(_check_id(path.stem)): _read_key(path) for path in sorted(stamps)}
        if not keys:
            raise ConfigError(f"{self._keys_dir} holds no key", hint=_NEW_HINT)
        self._stamps = stamps
        return keys

    def have_changed(self) -> bool:
        """Whether files came, went or were changed since they were loaded; a few `stat` calls."""
        return self._look() != self._stamps

    def _look(self) -> dict[Path, tuple[int, ...]]:
        return dict(self._stamped())

    def _stamped(self) -> Iterator[tuple[Path, tuple[int, ...]]]:
        for path in self._keys_dir.glob("*.key"):
            try:
                status = path.stat()
            except OSError:  # gone this moment, or a link to nothing: reading it will say so
                yield path, ()
                continue
            # The time of the last change of mode counts as well: `chmod 600` mends a key that was refused.
            yield path, (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def destroy_key(keys_dir: Path, key_id: str) -> None:
    """Overwrite and unlink a private key; on media that copy on write the old bytes may stay for a while."""
    path = keys_dir / f"{_check_id(key_id)}.key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        with open(descriptor, "wb") as file:  # noqa: PTH123 opened so that a link is not followed
            file.write(secrets.token_bytes(max(os.fstat(descriptor).st_size, 1)))
            file.flush()
            os.fsync(descriptor)
        path.unlink()
        sync_directory(keys_dir)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot destroy it: {exc.strerror}", hint="run as the aggregator's user") from exc


def _read_key(path: Path) -> PrivateKey:
    content = read_or_explain(path, what="a private key", hint="the aggregator's user must own it")
    if path.stat().st_mode & 0o077 and not _is_credential(path):
        raise ConfigError(f"{path}: others than its owner may read this private key", hint=f"chmod 600 {path}")
    try:
        return PrivateKey(bytes.fromhex(content.decode("ascii").strip()))
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"{path}:1: not a private key of 32 bytes in hex", hint=_NEW_HINT) from exc


def _is_credential(path: Path) -> bool:
    """Handed over by systemd, which guards the folder itself: its access list looks like a group's right."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.parent == Path(str(folder))


def _check_id(key_id: str) -> str:
    if not _ID.fullmatch(key_id):
        raise ConfigError(f"key id {key_id!r} is not at most 8 of a-z, 0-9, -", hint="for example 2026q4")
    return key_id
