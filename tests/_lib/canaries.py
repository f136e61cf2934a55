"""Values that are found wherever they lie, in whatever form: planted in events, looked for in raw bytes."""

import base64
import struct
import zlib

NOTE = "canary-note-qzvx"
SIDE = "canary-side-qzvx"
EVENT_ID = "canary-id-qzvx-4711"
UNDECLARED = "canary-undeclared-qzvx"
REFUSED = "canary-refused-qzvx"
NUMBER = 8317.0625
SUM = 2 * NUMBER
TEXTS = (NOTE, SIDE, EVENT_ID, UNDECLARED, REFUSED)


def forms_of(text):
    """Name → bytes of a text in every encoding that a file may hold it in."""
    plain = text.encode()
    forms = {
        "UTF-8": plain,
        "UTF-16 LE": text.encode("utf-16-le"),
        "UTF-16 BE": text.encode("utf-16-be"),
        "hex": plain.hex().encode(),
        "HEX": plain.hex().upper().encode(),
        "reversed": plain[::-1],
    }
    for shift in range(3):  # base64 looks different at each of three places; its ragged ends are left out
        coded = base64.b64encode(bytes(shift) + plain)
        forms[f"base64 +{shift}"] = coded[4 if shift else 0 : -4]
    return forms


NUMBERS = {
    f"{name} {form}": content
    for name, number in {"number": NUMBER, "sum": SUM}.items()
    for form, content in {
        "as text": repr(number).encode(),
        "double BE": struct.pack(">d", number),
        "double LE": struct.pack("<d", number),
        "grid steps, text": str(round(number * 16)).encode(),
        "grid steps, u32 BE": struct.pack(">I", round(number * 16)),
    }.items()
}
FORMS = {f"{text} {form}": content for text in TEXTS for form, content in forms_of(text).items()} | NUMBERS


def found_in(content):
    """Names of the forms that stand in some bytes, as they are or in any zlib stream that begins anywhere in them."""
    found = {name for name, form in FORMS.items() if form in content}
    for unpacked in streams_in(content):
        found |= {f"packed {name}" for name, form in FORMS.items() if form in unpacked}
    return found


def streams_in(content):
    """Whatever unpacks from a zlib header or, without one, from the body of a stream; also if its end is missing."""
    at = content.find(b"\x78")
    while at >= 0:
        if at + 2 <= len(content) and int.from_bytes(content[at : at + 2], "big") % 31 == 0:
            unpacked = _unpacked(content[at : at + 1_000_000])
            if unpacked:
                yield unpacked
        at = content.find(b"\x78", at + 1)


def _unpacked(content):
    unpacker, parts = zlib.decompressobj(), []
    try:
        for start in range(0, len(content), 256):  # bit by bit, so that what comes before the damage is seen
            parts.append(unpacker.decompress(content[start : start + 256]))
            if unpacker.eof:
                break
    except zlib.error:
        pass
    return b"".join(parts)


def search(*folders):
    """File → what was found in it, for every file below some folders that holds anything."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    assert files
    found = {path.name: found_in(path.read_bytes()) for path in files}
    return {name: forms for name, forms in found.items() if forms}
