"""The aggregator's signed time: whose it is, and what of it is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey
from nacl.signing import VerifyKey

from discreet_contract.beacon import make_beacon, read_beacon
from discreet_contract.errors import SignatureRefusedError
from discreet_contract.policy.model import AggregatorKey
from discreet_contract.xeddsa import _edwards

NOW = 1_700_006_400_123
FROM, UNTIL = 1_577_836_800_000, 1_893_456_000_000  # of `listed` keys


def listed(key, key_id="test"):
    return AggregatorKey(id=key_id, public_key=key.public_key.encode().hex(), from_="2020-01-01", until="2030-01-01")


KEY, OTHER = PrivateKey(bytes(31) + b"\2"), PrivateKey(bytes(31) + b"\3")


@given(st.binary(min_size=32, max_size=32), st.integers(FROM, UNTIL - 1))
def test_every_key_signs_every_time(private, time_ms):
    """Both signs of the Edwards point among them."""
    key = PrivateKey(private)
    assert read_beacon(make_beacon("f", time_ms, "test", key), "f", [listed(OTHER, "other"), listed(key)]) == time_ms


def test_a_signature_is_an_ordinary_ed25519_one():
    """Anybody's library verifies it, over the key's Edwards form."""
    _, _, time_ms, signature = msgspec.msgpack.decode(make_beacon("f", NOW, "test", KEY))
    message = b"discreet time 1\0" + msgspec.msgpack.encode(["f", time_ms])
    assert VerifyKey(_edwards(bytes(KEY.public_key))).verify(message, signature) == message


def test_no_two_signatures_share_a_nonce():
    """Or the private key could be worked out."""
    firsts = {msgspec.msgpack.decode(make_beacon("f", NOW, "test", KEY))[3][:32] for _ in range(100)}
    assert len(firsts) == 100


@pytest.mark.parametrize(
    ("rule", "content"),
    [
        ("FORM", b""),
        ("FORM", b"\x00" * 300),
        ("FORM", msgspec.msgpack.encode([2, b"test\0\0\0\0", NOW, bytes(64)])),
        ("FORM", msgspec.msgpack.encode([1, b"test\0\0\0\0", 2**60, bytes(64)])),
        ("KEY", make_beacon("f", NOW, "unknown", KEY)),
        ("KEY", make_beacon("f", FROM - 1, "test", KEY)),
        ("KEY", make_beacon("f", UNTIL, "test", KEY)),
        ("KEY", make_beacon("f", 2**53 - 1, "test", KEY)),
        ("ALTERED", make_beacon("g", NOW, "test", KEY)),
        ("ALTERED", make_beacon("f", NOW, "test", OTHER)),
        ("ALTERED", msgspec.msgpack.encode([1, b"test\0\0\0\0", NOW, bytes(64)])),
    ],
    ids=[
        "nothing",
        "too long",
        "another form",
        "no time",
        "key",
        "before its key",
        "after its key",
        "far after its key",
        "fleet",
        "signer",
        "signature",
    ],  # signatures are random
)
def test_what_is_refused(rule, content):
    """Another fleet's, another key's, an altered one, anything else."""
    with pytest.raises(SignatureRefusedError) as error:
        read_beacon(content, "f", [listed(KEY)])
    assert error.value.rule == rule


def test_a_changed_time_is_refused():
    """The signature covers it."""
    parts = msgspec.msgpack.decode(make_beacon("f", NOW, "test", KEY))
    parts[2] += 1
    with pytest.raises(SignatureRefusedError, match="ALTERED"):
        read_beacon(msgspec.msgpack.encode(parts), "f", [listed(KEY)])
