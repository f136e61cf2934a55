"""Canonical CBOR (RFC 8949 §4.2), the bytes that flagd's `fractional` hashes since its third version.

Whole floats are integers first, so that 1 and 1.0 fall into one bucket; floats take the
shortest form that keeps them; keys go by the length of their bytes, then by the bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

from discreet_agent.personal.coerce import LogicError

_MOST_PARTS = 1000
_DEEPEST = 32


def canonical(value: Any) -> bytes:
    """The bytes of a JSON value. Raises LogicError for one that is too large, or cannot be written."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str):
        return b"\x82" + _text(value[0]) + _text(value[1])  # the flag and the targeting key, the most frequent kind
    return b"".join(_Writer().write(value, 0))


class _Writer:
    def __init__(self) -> None:
        self.parts = 0

    def write(self, value: Any, depth: int) -> list[bytes]:
        self.parts += 1
        if self.parts > _MOST_PARTS or depth > _DEEPEST:
            raise LogicError(f"nothing of more than {_MOST_PARTS} parts, or deeper than {_DEEPEST}, is hashed")
        if isinstance(value, list):
            return [_head(4, len(value)), *(part for item in value for part in self.write(item, depth + 1))]
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        return [_scalar(value)]

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> list[bytes]:
        found = [_head(5, len(value))]
        keyed = sorted(
            ((_text(str(key)), item) for key, item in value.items()), key=lambda pair: (len(pair[0]), pair[0])
        )
        for key, item in keyed:
            found += [key, *self.write(item, depth + 1)]
        return found


def _scalar(value: Any) -> bytes:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, float):
        return _integer(int(value)) if value.is_integer() and -(2**63) <= value <= 2**64 - 1 else _float(value)
    if isinstance(value, int):
        return _integer(value)
    raise LogicError("only what JSON can say is hashed")


def _text(value: str) -> bytes:
    try:
        written = value.encode()
    except UnicodeEncodeError as error:
        raise LogicError("half a surrogate pair is not hashed") from error
    size = len(written)
    return (_TEXT_HEADS[size] if size < _FEW else _head(3, size)) + written


def _integer(value: int) -> bytes:
    major, size = (0, value) if value >= 0 else (1, -1 - value)
    if size < 2**64:
        return _head(major, size)
    written = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0xC2 + major]) + _head(2, len(written)) + written


def _float(value: float) -> bytes:
    if math.isnan(value):
        return b"\xf9\x7e\x00"
    for mark, form in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            written = struct.pack(form, value)
        except OverflowError:
            continue
        if struct.unpack(form, written)[0] == value:
            return mark + written
    return b"\xfb" + struct.pack(">d", value)


def _head(major: int, size: int) -> bytes:
    first = major << 5
    if size < 24:
        return bytes([first | size])
    for more, (length, form) in enumerate(((2**8, ">B"), (2**16, ">H"), (2**32, ">I"), (2**64, ">Q"))):
        if size < length:
            return bytes([first | (24 + more)]) + struct.pack(form, size)
    raise LogicError("nothing is that long")


_FEW = 256
_TEXT_HEADS = tuple(_head(3, size) for size in range(_FEW))
