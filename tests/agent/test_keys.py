"""The file of bucket keys: what it opens, what nobody opens any more, what its loss costs."""

import os

import pytest

from discreet_agent.store.keys import KEYS, Bucket, KeyRing, fingerprint, seal, unseal
from discreet_contract.errors import RetryableError, StoreError

A = Bucket("door.opened", 1000, 10)
B = Bucket("door.opened", 1010, 10)


def ring(folder, credential=None):
    opened = KeyRing(folder / KEYS, credential)
    opened.open()
    return opened


def test_a_key_survives_and_opens_what_it_sealed(tmp_path):
    """Also after the file was rewritten for another bucket."""
    first = ring(tmp_path)
    first.ensure([A])
    sealed = seal(first.find(A), A, b"a value")
    first.ensure([A, B])

    again = ring(tmp_path)
    assert unseal(again.find(A), A, sealed) == b"a value"
    assert again.buckets() == {A, B}
    assert (tmp_path / KEYS).stat().st_mode & 0o777 == 0o600


def test_a_block_belongs_to_its_bucket(tmp_path):
    """A block moved to another bucket's row does not open, nor does a changed one."""
    keys = ring(tmp_path)
    keys.ensure([A])
    sealed = seal(keys.find(A), A, b"a value")
    for bucket, body in ((B, sealed), (A, sealed[:-1] + bytes([sealed[-1] ^ 1])), (A, b"short")):
        with pytest.raises(StoreError, match="damaged"):
            unseal(keys.find(A), bucket, body)


def test_a_destroyed_key_is_nowhere_in_the_file_and_the_old_file_is_overwritten(tmp_path):
    """What a process still holds of the old file is zeros; no byte of the old wrapping opens the new one."""
    keys = ring(tmp_path)
    keys.ensure([A, B])
    old = os.open(tmp_path / KEYS, os.O_RDONLY)
    before = os.pread(old, 10_000, 0)
    keys.destroy([A])
    after = (tmp_path / KEYS).read_bytes()

    assert set(os.pread(old, 10_000, 0)) == {0}
    os.close(old)
    assert before[6:] not in after
    assert all(before[at : at + 16] not in after for at in range(6, len(before) - 16))
    assert ring(tmp_path).buckets() == {B}


def test_a_damaged_file_counts_as_empty_and_its_ruins_go(tmp_path):
    """Any flipped byte is noticed; the next change replaces the file."""
    keys = ring(tmp_path)
    keys.ensure([A])
    whole = (tmp_path / KEYS).read_bytes()
    for at in range(0, len(whole), 7):
        (tmp_path / KEYS).write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        if at == 5:  # now it claims to need a credential
            continue
        damaged = ring(tmp_path)
        assert damaged.was_unreadable
        assert damaged.buckets() == set()
    damaged.destroy([])
    assert not ring(tmp_path).was_unreadable


def test_with_a_credential_the_file_alone_opens_nothing(tmp_path):
    """Missing or another credential is the operator's to mend: the file is left alone."""
    keys = ring(tmp_path, b"c" * 32)
    keys.ensure([A])
    before = (tmp_path / KEYS).read_bytes()
    for credential, says in ((None, "not handed over"), (b"d" * 32, "does not open")):
        with pytest.raises(StoreError, match=says):
            ring(tmp_path, credential)
    assert (tmp_path / KEYS).read_bytes() == before
    assert ring(tmp_path, b"c" * 32).find(A) == keys.find(A)


def test_a_file_from_before_the_credential_is_taken_and_rewritten_under_it(tmp_path):
    """Handing over a credential later protects from the next change on."""
    ring(tmp_path).ensure([A])
    keys = ring(tmp_path, b"c" * 32)
    assert keys.buckets() == {A}
    keys.ensure([B])
    with pytest.raises(StoreError, match="not handed over"):
        ring(tmp_path)


def test_a_key_that_cannot_be_written_is_not_used(tmp_path):
    """Nothing may be sealed under a key that a restart would not find; nothing counts as destroyed that is not."""
    folder = tmp_path / "state"
    folder.mkdir()
    keys = ring(folder)
    keys.ensure([A])
    moved = folder.rename(tmp_path / "away")
    with pytest.raises(RetryableError):
        keys.ensure([B])
    with pytest.raises(RetryableError):
        keys.destroy([A])
    assert keys.buckets() == {A}
    moved.rename(folder)
    keys.ensure([B])
    assert ring(folder).buckets() == {A, B}


def test_a_fingerprint_tells_keys_apart_and_opens_nothing():
    """Sixteen hex digits."""
    assert len({fingerprint(bytes([number]) * 32) for number in range(100)}) == 100
    assert len(fingerprint(bytes(32))) == 16
