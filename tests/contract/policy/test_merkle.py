"""The log's tree, held against the proofs that others published and against itself."""

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discreet_contract.policy.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    tree_root,
)
from policies import ROOT

CASES = Path(os.environ.get("DISCREET_CASES", ROOT.parent / "shared" / "cases")) / "merkle" / "testdata"
LEAVES = [leaf_hash(bytes([number])) for number in range(40)]


def cases(kind):
    if not CASES.is_dir():
        pytest.skip(f"the published proofs are not in {CASES}; set DISCREET_CASES")
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((CASES / kind).rglob("*.json"))]


def decoded(case, *names):
    return [base64.b64decode(case[name] or "") for name in names]


def proof_of(case):
    return [base64.b64decode(item) for item in case["proof"] or []]


def test_published_inclusion_proofs():
    """98 of them, most of which must be refused."""
    verdicts = []
    for case in cases("inclusion"):
        leaf, root = decoded(case, "leafHash", "root")
        verdicts.append(is_included(case["leafIdx"], case["treeSize"], leaf, proof_of(case), root))
        assert verdicts[-1] is not case["wantErr"], case["desc"]
    assert len(verdicts) == 98
    assert any(verdicts)


def test_published_consistency_proofs():
    """98 more."""
    verdicts = []
    for case in cases("consistency"):
        earlier, root = decoded(case, "root1", "root2")
        verdicts.append(is_consistent(case["size1"], case["size2"], earlier, root, proof_of(case)))
        assert verdicts[-1] is not case["wantErr"], case["desc"]
    assert len(verdicts) == 98
    assert any(verdicts)


@given(st.data())
def test_every_proof_we_make_holds_and_no_altered_one(data):
    """For every size and index; with any one hash altered, dropped or doubled it does not."""
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    earlier = data.draw(st.integers(1, size))
    leaves, root = LEAVES[:size], tree_root(LEAVES[:size])
    inclusion = inclusion_proof(leaves, index)
    consistency = consistency_proof(leaves, earlier)

    assert is_included(index, size, leaves[index], inclusion, root)
    assert is_consistent(earlier, size, tree_root(leaves[:earlier]), root, consistency)
    for altered in _altered(inclusion):
        assert not is_included(index, size, leaves[index], altered, root)
    for altered in _altered(consistency):
        assert not is_consistent(earlier, size, tree_root(leaves[:earlier]), root, altered)


def _altered(proof):
    yield [*proof, LEAVES[0]]
    for place in range(len(proof)):
        yield proof[:place] + proof[place + 1 :]
        yield [*proof[:place], bytes(32), *proof[place + 1 :]]
        yield [*proof[:place], proof[place], *proof[place:]]


def test_the_empty_tree():
    """Its root is the hash of nothing; it is consistent with everything and so proves nothing."""
    assert tree_root([]) == EMPTY_ROOT
    assert not is_consistent(0, 5, EMPTY_ROOT, tree_root(LEAVES[:5]), [])


@given(st.integers(-3, 2**70), st.integers(-3, 2**70), st.lists(st.binary(max_size=33), max_size=70))
def test_nothing_raises(index, size, proof):
    """Sizes and proofs come from strangers."""
    assert not is_included(index, size, LEAVES[0], proof, LEAVES[1]) or proof
    assert is_consistent(index, size, LEAVES[0], LEAVES[1], proof) in {True, False}
