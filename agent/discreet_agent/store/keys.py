"""Keys of the raw layer, in one small file outside the database: to forget is to destroy a key (P3).

Each bucket of raw events (one signal, one stretch of time) is sealed under a random key of its own. The
file is rewritten whole under a fresh wrapping key at every change, and the old one is overwritten,
so that the database, its write-ahead log and copies of both become unreadable. Where the service
manager hands over a credential (which may be sealed by a TPM), the file cannot be read without it.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt as aead_open,
)
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_encrypt as aead_seal,
)
from nacl.exceptions import CryptoError

from discreet_contract.errors import RetryableError, StoreError
from discreet_contract.files import may_pass, write_durably

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KEYS = "day.keys"
CREDENTIAL = "discreet-keys"  # name under which the service manager hands it over
_MAGIC = b"dsck1"
_PLAIN, _WITH_CREDENTIAL = b"\0", b"\1"
_HEADER_BYTES = len(_MAGIC) + 1
_KEY_BYTES = 32
_NONCE_BYTES = 24


class Bucket(NamedTuple):
    """A stretch of one signal's events that is forgotten as a whole; seconds.

    `serial` tells those apart of which one is being forgotten while the other takes new events.
    """

    signal: str
    start: int
    length: int
    serial: int = 0


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    signal: str
    start: int
    length: int
    serial: int
    key: bytes


_decoder = msgspec.msgpack.Decoder(list[_Kept])


class DamagedBlockError(StoreError):
    """A block that is not what was sealed: the flash has forgotten it before its time."""


def seal(key: bytes, bucket: Bucket, content: bytes) -> bytes:
    """Nonce and XChaCha20-Poly1305 ciphertext, bound to the bucket."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + aead_seal(content, _said(bucket), nonce, key)


def unseal(key: bytes, bucket: Bucket, body: bytes) -> bytes:
    """The content. Raises DamagedBlockError where the body is not what was sealed."""
    try:
        return aead_open(body[_NONCE_BYTES:], _said(bucket), body[:_NONCE_BYTES], key)
    except (CryptoError, ValueError) as exc:
        raise DamagedBlockError("a block of raw events is damaged", hint="it is forgotten with its retention") from exc


def fingerprint(key: bytes) -> str:
    """What a deletion receipt says of a key: enough to tell it from others, nothing to open with."""
    return blake2b(key, digest_size=8, person=b"discreet-key").hexdigest()


def handed_over() -> bytes | None:
    """The service manager's credential, or None where there is none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        return None
    try:
        with open(os.path.join(folder, CREDENTIAL), "rb") as file:  # noqa: PTH118, PTH123 - one path, no Path needed
            return blake2b(file.read(), digest_size=_KEY_BYTES, person=b"discreet-cred").digest()
    except FileNotFoundError:
        return None


class KeyRing:
    """The file's content in memory; every change is on disk when the call returns."""

    def __init__(self, path: Path, credential: bytes | None = None) -> None:
        self._path = path
        self._credential = credential
        self._keys: dict[Bucket, bytes] = {}
        self.was_unreadable = False

    def open(self) -> None:
        """Read the file. A damaged one counts as empty: what it could open is lost, its ruins go with the next change.

        Raises StoreError where the credential is missing or another one, since that may be mended; RetryableError
        where the file cannot be read now.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as exc:
            kind = RetryableError if may_pass(exc) else StoreError
            raise kind(
                f"{self._path} cannot be read: {exc.strerror}", hint="check the disk and the file's owner"
            ) from exc
        if content[:_HEADER_BYTES] == _MAGIC + _WITH_CREDENTIAL and self._credential is None:
            hint = f"start the agent with the credential `{CREDENTIAL}`, or delete the file and lose the raw events"
            raise StoreError(f"{self._path} needs a credential that was not handed over", hint=hint)
        try:
            self._keys = self._decoded(content)
        except (CryptoError, ValueError, msgspec.MsgspecError) as exc:
            if content[:_HEADER_BYTES] == _MAGIC + _WITH_CREDENTIAL:
                hint = "start with the credential it was written under, or delete the file and lose the raw events"
                raise StoreError(f"{self._path} does not open under this credential", hint=hint) from exc
            self.was_unreadable = True

    def find(self, bucket: Bucket) -> bytes | None:
        """A bucket's key; None where it was destroyed or lost."""
        return self._keys.get(bucket)

    def buckets(self) -> set[Bucket]:
        """Every bucket that can still be opened."""
        return set(self._keys)

    def ensure(self, buckets: Iterable[Bucket]) -> None:
        """Make the keys that are missing. Raises RetryableError."""
        missing = [bucket for bucket in buckets if bucket not in self._keys]
        if missing:
            self._replace(self._keys | {bucket: secrets.token_bytes(_KEY_BYTES) for bucket in missing})

    def destroy(self, buckets: Iterable[Bucket]) -> None:
        """Nobody can open these any more. Raises RetryableError; then all of them still can be."""
        doomed = set(buckets)
        if doomed & self._keys.keys() or self.was_unreadable:
            self._replace({bucket: key for bucket, key in self._keys.items() if bucket not in doomed})

    def _replace(self, keys: dict[Bucket, bytes]) -> None:
        try:
            with _overwritten_after(self._path):
                write_durably(self._path, self._encoded(keys))
        except OSError as exc:
            problem = f"{self._path}: cannot be written: {exc.strerror}"
            raise RetryableError(problem, hint="free the disk; the agent tries again") from exc
        self._keys = keys
        self.was_unreadable = False

    def _encoded(self, keys: dict[Bucket, bytes]) -> bytes:
        salt = secrets.token_bytes(_KEY_BYTES)
        header = _MAGIC + (_PLAIN if self._credential is None else _WITH_CREDENTIAL)
        content = msgspec.msgpack.encode([_Kept(*bucket, key) for bucket, key in keys.items()])
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return header + salt + nonce + aead_seal(content, header, nonce, self._wrapping(salt))

    def _decoded(self, content: bytes) -> dict[Bucket, bytes]:
        header, rest = content[:_HEADER_BYTES], content[_HEADER_BYTES:]
        if header not in {_MAGIC + _PLAIN, _MAGIC + _WITH_CREDENTIAL}:
            raise ValueError("not a key file")
        salt, nonce = rest[:_KEY_BYTES], rest[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES]
        credential = self._credential if header.endswith(_WITH_CREDENTIAL) else None
        opened = aead_open(rest[_KEY_BYTES + _NONCE_BYTES :], header, nonce, _wrapping(salt, credential))
        return {Bucket(kept.signal, kept.start, kept.length, kept.serial): kept.key for kept in _decoder.decode(opened)}

    def _wrapping(self, salt: bytes) -> bytes:
        return _wrapping(salt, self._credential)


def _wrapping(salt: bytes, credential: bytes | None) -> bytes:
    """The wrapping key: the file's own random bytes, mixed with the credential where there is one."""
    return blake2b(salt, digest_size=_KEY_BYTES, key=credential or b"", person=b"discreet-wrap").digest()


def _said(bucket: Bucket) -> bytes:
    return f"{bucket.signal}/{bucket.start}/{bucket.length}/{bucket.serial}".encode()


@contextmanager
def _overwritten_after(path: Path) -> Iterator[None]:
    """Overwrite what `path` held before, once another file has taken its place."""
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        yield
        return
    try:
        yield
        os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
