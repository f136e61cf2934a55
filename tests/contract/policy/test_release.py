"""A device obeys exactly what a pinned root signed (P5)."""

import json

import msgspec
import pytest
from nacl.signing import SigningKey

from discreet_contract.errors import ConfigError, ExitCode, SignatureRefusedError
from discreet_contract.policy.compile import build_policy, canonical_json, canonicalize, load_policy, policy_hash
from discreet_contract.policy.model import Policy
from discreet_contract.policy.plan import plan_metrics
from discreet_contract.policy.release import (
    _SIGNED,
    MAX_SIGNED_BYTES,
    new_root_key,
    read_root_key,
    sign_policy,
    verify_policy,
)
from policies import FLIGHTS, built, edited, parsed

KEY = SigningKey(b"r" * 32)
ROOT = KEY.verify_key.encode().hex()
OTHER = SigningKey(b"o" * 32)
OTHER_ROOT = OTHER.verify_key.encode().hex()


@pytest.fixture(scope="module")
def signed():
    return sign_policy(load_policy(FLIGHTS), [KEY])


def signed_as_is(value, key=KEY):
    """A good signature over whatever it is: what a careless or old tool might have signed."""
    canonical = canonicalize(value)
    signature = {"root": key.verify_key.encode().hex(), "signature": key.sign(_SIGNED + canonical).signature.hex()}
    return json.dumps({"policy": value, "signatures": [signature]}).encode()


def refused(signed, roots=(ROOT,)):
    with pytest.raises(SignatureRefusedError) as caught:
        verify_policy(signed, roots)
    assert caught.value.exit_code == ExitCode.POLICY
    assert caught.value.hint
    return str(caught.value)


def test_what_was_signed_is_verified(signed):
    """Policy, hash, signer and plans come back."""
    verified = verify_policy(signed, [ROOT])

    assert verified.policy == load_policy(FLIGHTS)
    assert verified.digest == policy_hash(canonical_json(load_policy(FLIGHTS)))
    assert verified.wire_hash == verified.digest[:16]
    assert verified.signed_by == ROOT
    assert list(verified.plans) == sorted(load_policy(FLIGHTS).metrics)


def test_operator_and_device_see_the_same_plans():
    """Numbers written as 60.0 become 60 on the way; nothing may depend on it."""
    policy = built(("{var: delay}, 60", "{var: delay}, 60.0"))

    assert {n: p.version for n, p in verify_policy(sign_policy(policy, [KEY]), [ROOT]).plans.items()} == {
        n: p.version for n, p in plan_metrics(policy).items()
    }


def test_any_pinned_root_will_do():
    """Two signatures, one of them pinned."""
    both = sign_policy(load_policy(FLIGHTS), [OTHER, KEY])

    assert verify_policy(both, [ROOT]).signed_by == ROOT
    assert verify_policy(both, [OTHER_ROOT]).signed_by == OTHER_ROOT


def test_layout_does_not_matter(signed):
    """The signature is over the canonical form, not over the file's bytes."""
    assert verify_policy(json.dumps(json.loads(signed), indent=2).encode(), [ROOT]).signed_by == ROOT


def test_a_root_that_is_not_pinned_is_refused(signed):
    """Somebody signed it, but nobody this device knows."""
    assert "NO_PINNED_SIGNATURE" in refused(signed, (OTHER_ROOT,))
    assert "NO_PINNED_SIGNATURE" in refused(signed, ())


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"epsilon":1', b'"epsilon":2'), (b'"version":1}', b'"version":2}'), (b'"discreet":1', b'"discreet":1,"x":1')],
)
def test_an_altered_policy_is_refused(signed, old, new):
    """One digit, one added key."""
    assert old in signed
    assert "ALTERED" in refused(signed.replace(old, new, 1))


def test_a_foreign_signature_is_refused(signed):
    """A pinned root's name over another root's signature."""
    outer = json.loads(signed)
    outer["signatures"][0]["signature"] = json.loads(sign_policy(load_policy(FLIGHTS), [OTHER]))["signatures"][0][
        "signature"
    ]

    assert "ALTERED" in refused(json.dumps(outer).encode())


def test_a_signature_over_the_bare_json_is_refused(signed):
    """Signatures are bound to their purpose: the same key's word on other bytes does not count."""
    outer = json.loads(signed)
    outer["signatures"][0]["signature"] = KEY.sign(canonicalize(outer["policy"])).signature.hex()

    assert "ALTERED" in refused(json.dumps(outer).encode())


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"policy": {}}',
        b'{"policy": {}, "signatures": [], "more": 1}',
        b'{"policy": 1e999, "signatures": []}',
        b'{"policy": {"a": "\\ud800"}, "signatures": []}',
        b'{"policy": {"a": 99999999999999999999}, "signatures": []}',
        b'{"policy": {"a": 9007199254740993}, "signatures": []}',
        b'{"policy": {"a": ' + b"[" * 100_000,
        b'{"policy": {"a": ' + b"[" * 900 + b"]" * 900 + b'}, "signatures": []}',
        b'{"policy": {}, "signatures": [{"root": "zz", "signature": ""}]}',
    ],
    ids=lambda value: value[:40],
)
def test_garbage_is_refused(garbage):
    """Whatever a broker retains, the answer is a named refusal."""
    assert "policy refused: " in refused(garbage)


def test_an_oversized_policy_is_refused_unread():
    """Two megabytes of anything."""
    assert "SIZE" in refused(b"{" * (MAX_SIGNED_BYTES + 1))


def test_a_policy_that_was_not_compiled_is_refused():
    """Defaults not written down would mean something else to the next version."""
    value = json.loads(canonical_json(load_policy(FLIGHTS)))
    del value["spread"]

    assert "LANGUAGE" in refused(signed_as_is(value))
    assert "not compiled" in refused(signed_as_is(value))


def test_a_policy_with_an_open_choice_of_mechanism_is_refused():
    """`auto` left in a signed policy would let every version choose for itself."""
    value = json.loads(canonical_json(load_policy(FLIGHTS)))
    value["metrics"]["departures"]["mechanism"] = "auto"

    assert "not compiled" in refused(signed_as_is(value))


def test_signing_compiles(signed):
    """A policy object that was never compiled is signed in its compiled form."""
    compiled = load_policy(FLIGHTS)
    open_ones = {
        name: msgspec.structs.replace(metric, mechanism="auto")
        for name, metric in compiled.metrics.items()
        if name != "departures"  # for which the file itself names the mechanism
    }
    raw = msgspec.structs.replace(compiled, metrics=compiled.metrics | open_ones)

    assert sign_policy(raw, [KEY]) == signed


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (("metrics", "departures", "per_device"), {}),
        (("metrics", "departures", "bounds"), [40, 0]),
        (("metrics", "departures", "from"), "no.signal"),
        (("metrics", "departures", "window"), "28d\n"),
        (("discreet",), 2),
        (("fleet",), "flights\n"),
    ],
)
def test_a_signed_policy_that_cannot_be_obeyed_is_refused(path, new):
    """A good signature does not make a bad policy work."""
    value = json.loads(canonical_json(load_policy(FLIGHTS)))
    *parents, last = path
    target = value
    for key in parents:
        target = target[key]
    target[last] = new

    assert "LANGUAGE" in refused(signed_as_is(value))


def test_a_root_key_file_is_private_and_never_overwritten(tmp_path):
    """0600, and a second `keys new` refuses."""
    path = tmp_path / "sub" / "root.key"
    public = new_root_key(path)

    assert path.stat().st_mode & 0o777 == 0o600
    assert read_root_key(path).verify_key.encode().hex() == public
    with pytest.raises(ConfigError, match="exists"):
        new_root_key(path)
    assert read_root_key(path).verify_key.encode().hex() == public


@pytest.mark.parametrize("content", [b"", b"xyz", b"\xff\xfe", b"00" * 31, b"00" * 33])
def test_a_broken_root_key_file_is_named(tmp_path, content):
    """Which file, which line, how to make a good one; never its content."""
    path = tmp_path / "root.key"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"root\.key:1: not a signing key") as caught:
        read_root_key(path)

    assert "keys new" in caught.value.hint


def test_a_missing_root_key_file_is_named(tmp_path):
    """The next step is to make one."""
    with pytest.raises(ConfigError, match="cannot read a signing key"):
        read_root_key(tmp_path / "nowhere.key")


def test_uncompiled_and_compiled_policies_share_one_type():
    """Compiling does not leave the language (model.py's promise)."""
    assert type(build_policy(parsed(edited()))) is Policy
