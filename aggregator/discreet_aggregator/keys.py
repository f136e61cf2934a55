"""The aggregator's private keys: one file `<id>.key` each, X25519, hex, readable by its owner only.

Keys are never overwritten: an envelope sealed to a lost key can never be opened again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nacl.public import PrivateKey

from discreet_contract.envelope import encode_key_id
from discreet_contract.errors import ConfigError
from discreet_contract.files import read_or_explain, write_durably

if TYPE_CHECKING:
    from pathlib import Path

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
    keys = {encode_key_id(_check_id(path.stem)): _read_key(path) for path in sorted(keys_dir.glob("*.key"))}
    if not keys:
        raise ConfigError(f"{keys_dir} holds no key", hint=_NEW_HINT)
    return keys


def _read_key(path: Path) -> PrivateKey:
    content = read_or_explain(path, what="a private key", hint="the aggregator's user must own it")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others than its owner may read this private key", hint=f"chmod 600 {path}")
    try:
        return PrivateKey(bytes.fromhex(content.decode("ascii").strip()))
    except (ValueError, TypeError) as exc:
        raise ConfigError(f"{path}:1: not a private key of 32 bytes in hex", hint=_NEW_HINT) from exc


def _check_id(key_id: str) -> str:
    if not _ID.fullmatch(key_id):
        raise ConfigError(f"key id {key_id!r} is not at most 8 of a-z, 0-9, -", hint="for example 2026q4")
    return key_id
