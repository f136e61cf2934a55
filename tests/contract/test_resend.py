"""A signed request to send again: who may ask, and what of others is made."""

from nacl.public import PrivateKey

from discreet_contract.policy.model import AggregatorKey
from discreet_contract.resend import Resend, ResendRefusal, judge_resend, make_resend, read_resend

KEY, OTHER = PrivateKey(bytes(31) + b"\1"), PrivateKey(bytes(31) + b"\2")
NOW_MS = 1_700_006_400_000
ASKED = Resend(NOW_MS, 1_699_920_000, "restored")
DAY_MS = 86_400_000


def policy_key(key=KEY, from_="2023-01-01", until="2024-01-01"):
    return AggregatorKey(id="k1", public_key=key.public_key.encode().hex(), from_=from_, until=until)


def test_what_a_key_of_the_policy_signed_is_read():
    """As it was asked."""
    content = make_resend("fleet", ASKED, "k1", KEY)
    assert read_resend(content, "fleet", [policy_key(OTHER, until="2022-01-01"), policy_key()][1:]) == ASKED


def test_what_anybody_else_signed_is_refused():
    """Another key, another fleet, another day, an altered byte, another form."""
    content = make_resend("fleet", ASKED, "k1", KEY)
    altered = content[:-1] + bytes([content[-1] ^ 1])
    later = make_resend("fleet", Resend(NOW_MS + 1, 0, "x"), "k1", KEY)

    assert read_resend(make_resend("fleet", ASKED, "k1", OTHER), "fleet", [policy_key()]) is ResendRefusal.ALTERED
    assert read_resend(content, "other", [policy_key()]) is ResendRefusal.ALTERED
    assert read_resend(altered, "fleet", [policy_key()]) is ResendRefusal.ALTERED
    assert read_resend(content[:20] + later[20:], "fleet", [policy_key()]) is not ASKED
    assert read_resend(content, "fleet", []) is ResendRefusal.KEY
    assert read_resend(content, "fleet", [policy_key(until="2023-11-15")]) is ResendRefusal.KEY
    assert read_resend(content, "fleet", [policy_key(from_="2023-11-16")]) is ResendRefusal.KEY
    for junk in (b"", b"\xc1", content + b"\0", content[:-1], bytes(5000)):
        assert read_resend(junk, "fleet", [policy_key()]) is ResendRefusal.FORM


def test_one_of_long_ago_and_one_of_the_future_are_refused():
    """Nothing of what it asks for would be taken; a wrong clock must not shut out what is asked later."""
    assert judge_resend(ASKED, NOW_MS + 35 * DAY_MS, 35 * DAY_MS) is None
    assert judge_resend(ASKED, NOW_MS + 35 * DAY_MS + 1, 35 * DAY_MS) is ResendRefusal.EXPIRED
    assert judge_resend(ASKED, NOW_MS - DAY_MS, 35 * DAY_MS) is None
    assert judge_resend(ASKED, NOW_MS - DAY_MS - 1, 35 * DAY_MS) is ResendRefusal.EARLY
