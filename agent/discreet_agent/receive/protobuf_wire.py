"""The outermost layer of protobuf: fields of a message as number and content, nothing unpacked.

A body of 4 MB can hold two million empty log records, which a protobuf library makes into 270 MB of
objects. So a request is first walked here, without copying, and the library is given one record at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _LENGTH = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}

Content: TypeAlias = int | memoryview


MAX_FIELDS = 200_000  # walked in one request; ten thousand records take 30,000, ten thousand metrics 120,000


class WireError(ValueError):
    """Not protobuf."""


class TooManyFieldsError(ValueError):
    """More than is walked for one request."""


class Walk:
    """A walk over the messages of one request, of at most so many steps."""

    def __init__(self, steps: int = MAX_FIELDS) -> None:
        self._left = steps

    def fields(self, message: memoryview) -> Iterator[tuple[int, Content]]:
        """(field number, integer or bytes) of every field, in order. Raises WireError and TooManyFieldsError."""
        at, end = 0, len(message)
        while at < end:
            self.pay(1)
            key, at = _varint(message, at)
            number, wire_type = key >> 3, key & 7
            content: Content
            if wire_type == _VARINT:
                content, at = _varint(message, at)
            else:
                length, at = _length(message, at, wire_type)
                content = message[at : at + length]
                at += length
            if number == 0 or at > end:
                raise WireError("a field without a number, or one that ends outside of its message")
            yield number, content

    def pay(self, steps: int) -> None:
        """Use up so many steps at once. Raises TooManyFieldsError."""
        self._left -= steps
        if self._left < 0:
            raise TooManyFieldsError

    def messages(self, message: memoryview, wanted: int) -> Iterator[memoryview]:
        """Every submessage of one field, in order."""
        for number, content in self.fields(message):
            if number == wanted:
                if isinstance(content, int):
                    raise WireError("a number where a message is due")
                yield content

    def last(self, message: memoryview, wanted: int) -> bytes:
        """The last occurrence of a text, bytes or message field, or nothing: later ones win."""
        found = b""
        for content in self.messages(message, wanted):
            found = bytes(content)
        return found


def _length(message: memoryview, at: int, wire_type: int) -> tuple[int, int]:
    if wire_type == _LENGTH:
        return _varint(message, at)
    if wire_type in _FIXED_BYTES:
        return _FIXED_BYTES[wire_type], at
    raise WireError("a field of an unknown kind")


def text_field(number: int, content: str | bytes) -> bytes:
    """A text, bytes or message field, written."""
    encoded = content.encode() if isinstance(content, str) else content
    return _written(number << 3 | _LENGTH) + _written(len(encoded)) + encoded


def varint_field(number: int, value: int) -> bytes:
    """A non-negative integer field, written."""
    return _written(number << 3 | _VARINT) + _written(value)


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(at, min(at + 10, len(message))):
        byte = message[index]
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, index + 1
        shift += 7
    raise WireError("a number without an end")


def _written(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)
