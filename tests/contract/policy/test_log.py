"""The transparency log: what is in it is all there was, in order, signed."""

import json
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from discreet_contract.errors import ConfigError, SignatureRefusedError
from discreet_contract.policy.bundle import make_bundle, read_bundle
from discreet_contract.policy.log import LogHead, PolicyLog
from discreet_contract.policy.merkle import is_consistent, is_included, leaf_hash, tree_root
from discreet_contract.policy.release import sign_policy
from policies import built

KEY = SigningKey(b"l" * 32)
ROOTS = [KEY.verify_key.encode().hex()]


def signed(version, key=KEY, **changes):
    edits = [("version: 1\n", f"version: {version}\n"), *changes.items()]
    return sign_policy(built(*edits), [key])


@pytest.fixture
def log(tmp_path):
    """Three releases."""
    log = PolicyLog.open(tmp_path / "log")
    for version in (1, 2, 3):
        log = log.append(signed(version), [KEY], 1000 * version)
    return log


def test_what_was_appended_is_there_and_verifies(log):
    """Read anew from the folder."""
    again = PolicyLog.open(log.folder)
    assert again == log
    assert [one.policy.version for one in again.verify(ROOTS)] == [1, 2, 3]


def test_an_empty_log_is_a_folder_that_is_not_there(tmp_path):
    """The first release makes it."""
    log = PolicyLog.open(tmp_path / "none")
    assert (log.entries, log.head, log.verify(ROOTS)) == ((), None, [])


def test_proofs_lead_to_the_signed_head(log):
    """For every version, by somebody who has only the proof and the entry."""
    for version in (1, 2, 3):
        given = log.prove(version)
        proof = [bytes.fromhex(item) for item in given["proof"]]
        root = bytes.fromhex(given["head"]["root"])
        assert is_included(given["index"], given["head"]["size"], bytes.fromhex(given["leaf"]), proof, root)
    with pytest.raises(ConfigError, match="no version 4"):
        log.prove(4)


@pytest.mark.parametrize(
    ("version", "fleet", "part"),
    [(3, "flights", "next entry is version 4"), (5, "flights", "version 4"), (4, "trains", "belongs to fleet flights")],
)
def test_only_the_next_version_of_the_same_fleet_is_appended(log, version, fleet, part):
    """And a refusal changes nothing."""
    entry = signed(version, **{"fleet: flights": f"fleet: {fleet}"})
    with pytest.raises(ConfigError, match=part):
        log.append(entry, [KEY], 9000)
    assert PolicyLog.open(log.folder) == log


def entry_file(log, number):
    return log.folder / "entries" / f"{number:06}.json"


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"punctual", b"punctuaI", 1))


def swap(log):
    first, second = entry_file(log, 1), entry_file(log, 2)
    first_bytes, second_bytes = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_bytes)
    second.write_bytes(first_bytes)


def edit_head(log, **changes):
    path = log.folder / "head.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGES = {
    "an entry altered": (lambda log: flip(entry_file(log, 2)), "ROOT"),
    "two entries swapped": (swap, "ROOT"),
    "an entry removed": (lambda log: entry_file(log, 2).unlink(), "000002.json"),
    "the head truncated": (lambda log: (log.folder / "head.json").write_text("{"), "FORM"),
    "a shorter head": (lambda log: edit_head(log, size=2), "ROOT"),
    "another time": (lambda log: edit_head(log, time_ms=1), "HEAD_ALTERED"),
    "no signature": (lambda log: edit_head(log, signatures=[]), "HEAD_UNSIGNED"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damage_is_found(log, damage):
    """Each with its own rule and a next step."""
    change, rule = DAMAGES[damage]
    change(log)
    with pytest.raises((SignatureRefusedError, ConfigError), match=rule) as refused:
        PolicyLog.open(log.folder).verify(ROOTS)
    assert refused.value.hint


def test_a_stranger_cannot_append(log):
    """Who lacks the root key can write files, but no log that verifies."""
    stranger = SigningKey(b"s" * 32)
    log.append(signed(4, stranger), [stranger], 9000)
    with pytest.raises(SignatureRefusedError, match="NO_PINNED_SIGNATURE"):
        PolicyLog.open(log.folder).verify(ROOTS)


def test_an_entry_beyond_the_head_does_not_count(log):
    """As after a power cut between the two writes; the next append replaces it."""
    entry_file(log, 4).write_bytes(b"half an entr")
    again = PolicyLog.open(log.folder)
    assert again == log
    assert len(again.append(signed(4), [KEY], 9000).verify(ROOTS)) == 4


# --- heads signed anew, witnesses, changes of roots


def test_a_head_signed_anew_says_the_same_at_a_later_time(log):
    """Nothing else changes, on disk as well."""
    again = log.sign_anew([KEY], 9000)

    assert (again.head.size, again.head.root, again.head.time_ms) == (3, log.head.root, 9000)
    assert PolicyLog.open(log.folder) == again
    again.verify(ROOTS)


def test_a_witness_signs_beside_the_root_and_once(log):
    """A signature of one never passes for one of the other."""
    witness = SigningKey(b"w" * 32)
    public = witness.verify_key.encode().hex()
    twice = log.cosign(witness).cosign(witness)

    assert len(twice.head.witnesses) == 1
    twice.head.check_witness(public)
    twice.verify(ROOTS)
    with pytest.raises(SignatureRefusedError, match="WITNESS_MISSING"):
        log.head.check_witness(public)
    with pytest.raises(SignatureRefusedError, match="HEAD_UNSIGNED"):
        twice.head.check_signature([public])


def test_a_log_has_grown_from_every_earlier_head_and_no_other(tmp_path, log):
    """What devices show is held against the log like this."""
    first = PolicyLog.open(tmp_path / "first").append(signed(1), [KEY], 1)
    other = PolicyLog.open(tmp_path / "other").append(signed(1, **{"lateness: 2h": "lateness: 3h"}), [KEY], 1)
    longer = log.append(signed(4), [KEY], 1)

    assert log.has_grown_from(first.head)
    assert log.has_grown_from(log.head)
    assert not log.has_grown_from(other.head)
    assert not log.has_grown_from(longer.head)


def test_a_root_that_was_succeeded_signed_the_past_and_not_the_future(log):
    """Who pins the old root follows; who pins the new one alone cannot verify what the old one signed."""
    new = SigningKey(b"n" * 32)
    public = new.verify_key.encode().hex()
    changed = log.change_root(KEY, public)
    right = changed.append(signed(4, new), [new], 9)

    assert [one.signed_by for one in PolicyLog.open(log.folder).verify(ROOTS)] == [*ROOTS * 3, public]
    assert right.retired_at(4) == {*ROOTS}
    assert right.retired_at(3) == frozenset()
    with pytest.raises(SignatureRefusedError, match=r"000001\.json.*NO_PINNED_SIGNATURE"):
        right.verify([public])
    wrong = changed.append(signed(4), [KEY], 9)
    with pytest.raises(SignatureRefusedError, match=r"000004\.json.*NO_PINNED_SIGNATURE"):
        wrong.verify(ROOTS)
    with pytest.raises(ConfigError, match="retired before"):
        changed.change_root(KEY, public)


def test_only_a_root_of_the_log_signs_it_anew_or_hands_it_over(log):
    """A mistaken key would break the log for everybody who follows it."""
    stranger, new = SigningKey(b"s" * 32), SigningKey(b"n" * 32)
    handed = log.change_root(KEY, new.verify_key.encode().hex())
    after = handed.append(signed(4, new), [new], 9)

    for act in (
        lambda: log.sign_anew([stranger], 9),
        lambda: log.change_root(stranger, ROOTS[0]),
        lambda: handed.sign_anew([new], 9),  # it signs from the next release on
        lambda: after.sign_anew([KEY], 9),
    ):
        with pytest.raises(ConfigError, match="no root of version"):
            act()
    with pytest.raises(ConfigError, match="was a root before"):
        after.change_root(new, ROOTS[0])
    assert after.sign_anew([new], 10).head.time_ms == 10


def test_an_empty_log_has_nothing_to_sign(tmp_path):
    """Nor to witness, nor to hand over."""
    log = PolicyLog.open(tmp_path / "none")
    for act in (
        lambda: log.sign_anew([KEY], 1),
        lambda: log.cosign(KEY),
        lambda: log.change_root(KEY, ROOTS[0]),
        lambda: make_bundle(log),
    ):
        with pytest.raises(ConfigError, match="nothing was released") as refused:
            act()
        assert refused.value.hint


def test_a_bundle_has_room_for_a_long_log(tmp_path):
    """Two hundred releases: growth is proven from the last 64, or from any size that is asked for."""
    log = PolicyLog.open(tmp_path / "long")
    entries = (*(b"entry %d" % number for number in range(199)), signed(200))
    head = LogHead("flights", 200, tree_root([leaf_hash(entry) for entry in entries]).hex(), 1)
    log = replace(log, entries=entries, head=head)
    short, whole = read_bundle(make_bundle(log)), read_bundle(make_bundle(log, earliest=1))

    assert [one.size for one in short.consistency] == list(range(136, 200))
    assert [one.size for one in whole.consistency] == list(range(1, 200))
    assert len(make_bundle(log)) < 60_000
    root = bytes.fromhex(head.root)
    for size in (1, 2, 63, 64, 128, 199):
        earlier = tree_root([leaf_hash(entry) for entry in entries[:size]])
        assert is_consistent(size, 200, earlier, root, whole.consistency_hashes(size))
