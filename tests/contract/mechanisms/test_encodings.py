"""Encodings there and back, for any value: sets and ranks, bit masks and slots, vectors and numbers."""

from hypothesis import given
from hypothesis import strategies as st

from discreet_contract.mechanisms.k_ary import KAryResponse
from discreet_contract.mechanisms.local_hashing import LinearLocalHashing
from discreet_contract.mechanisms.multi_select import MultiSelect
from discreet_contract.mechanisms.subset_selection import SubsetSelection

SETS = SubsetSelection(1.0, tuple(map(str, range(40))))
HASHES = LinearLocalHashing(1.0, tuple(map(str, range(1024))))
SEVERAL = MultiSelect(KAryResponse(1.0, tuple(map(str, range(31)))), 4)


@given(st.integers(0, len(SETS.outputs()) - 1))
def test_a_rank_is_that_of_its_set(rank):
    """Any of some hundred millions."""
    members = SETS.members(rank)

    assert len(members) == SETS.size
    assert SETS.rank(sorted(members)) == rank
    assert {label for label, count in enumerate(SETS.accumulate([rank])[1:]) if count} == {m for m in members if m < 40}


@given(st.sets(st.integers(0, 29), max_size=4))
def test_slots_hold_each_label_once_and_none_for_the_rest(held):
    """So that a label held is sampled with probability 1/L, whatever else is held."""
    slots = SEVERAL.slots(sum(1 << label for label in held))

    assert len(slots) == 4
    assert set(slots) - {30} == held
    assert slots.count(30) == 4 - len(held)


@given(st.integers(0, HASHES.directions - 1), st.integers(0, 1023), st.integers(0, 1023))
def test_hashing_is_linear(direction, one, other):
    """Digit by digit: the hash of a sum without carries is the sum of the hashes; leading digits are 1."""
    q = HASHES.field
    digits = [q**i for i in range(HASHES.digits)]
    total = sum((one // d % q + other // d % q) % q * d for d in digits)
    leading = [d for d in digits if d <= HASHES.vector(direction)][-1]

    assert HASHES.vector(direction) // leading == 1
    expected = (HASHES.hash_value(direction, one) + HASHES.hash_value(direction, other)) % q
    assert HASHES.hash_value(direction, total) == expected
