"""The first check that an envelope fails is the rule that is named."""

import pytest
from nacl.public import PrivateKey

from discreet_contract.envelope import MAGIC, OVERHEAD_BYTES, EnvelopeRefusedError, encode_key_id, seal, unseal

KEY, OTHER = PrivateKey(b"k" * 32), PrivateKey(b"o" * 32)
KEYS = {encode_key_id("2026q4"): KEY}
BODY = bytes(256 - OVERHEAD_BYTES)


def rule(envelope, keys=KEYS):
    with pytest.raises(EnvelopeRefusedError) as caught:
        unseal(envelope, keys)
    return caught.value.rule


def test_what_was_sealed_is_opened():
    """Twice sealed gives two different envelopes with one content."""
    one, two = (seal(BODY, "2026q4", KEY.public_key) for _ in range(2))

    assert one != two
    assert one[:12] == two[:12] == MAGIC + b"2026q4\0\0"
    assert unseal(one, KEYS) == unseal(two, KEYS) == BODY


def test_each_check_names_its_rule():
    """Size, magic, key, seal."""
    good = seal(BODY, "2026q4", KEY.public_key)

    assert rule(b"") == "SIZE"
    assert rule(good[:-1]) == "SIZE"
    assert rule(good + b"\0") == "SIZE"
    assert rule(b"dsc2" + good[4:]) == "MAGIC"
    assert rule(good, {}) == "KEY_UNKNOWN"
    assert rule(seal(BODY, "2027q1", KEY.public_key)) == "KEY_UNKNOWN"
    assert rule(good, {encode_key_id("2026q4"): OTHER}) == "UNOPENABLE"
    assert rule(good[:-1] + bytes([good[-1] ^ 1])) == "UNOPENABLE"


def test_key_ids_fill_eight_bytes():
    """The longest the policy language allows."""
    assert encode_key_id("demo") == b"demo\0\0\0\0"
    assert encode_key_id("12345678") == b"12345678"
