from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veritune.common.merkle import EMPTY_ROOT, MerkleTree, leaf_hash, node_hash, verify_inclusion

# The leaves and roots published with Certificate Transparency's reference tests (RFC 6962/9162 hashing).
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def rfc_root(hashes: list[bytes]) -> bytes:
    """The recursive definition of RFC 9162 section 2.1.1."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(rfc_root(hashes[:k]), rfc_root(hashes[k:]))


@pytest.mark.parametrize(("size", "root"), ROOTS.items())
def test_published_roots(size: int, root: str) -> None:
    tree = MerkleTree([leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES[:size]])
    assert tree.root.hex() == root


def test_empty_tree() -> None:
    assert MerkleTree([]).root == EMPTY_ROOT == hashlib.sha256(b"").digest()


@given(st.integers(1, 70), st.data())
def test_every_leaf_is_proven_and_nothing_else(size: int, data: st.DataObject) -> None:
    hashes = [leaf_hash(bytes([index])) for index in range(size)]
    tree = MerkleTree(hashes)
    assert tree.root == rfc_root(hashes)
    index = data.draw(st.integers(0, size - 1))
    proof = tree.proof(index)
    assert verify_inclusion(hashes[index], index, size, proof, tree.root)
    assert not verify_inclusion(hashes[index], index, size, (*proof, b"\0" * 32), tree.root)
    assert not verify_inclusion(hashes[index], size, size, proof, tree.root)
    assert not verify_inclusion(hashes[index], -1, size, proof, tree.root)
    assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, tree.root)
    if size > 1:
        assert not verify_inclusion(hashes[index], (index + 1) % size, size, proof, tree.root)
        assert not verify_inclusion(hashes[index], index, size, proof[:-1], tree.root)
        flipped = bytes([proof[0][0] ^ 1]) + proof[0][1:]
        assert not verify_inclusion(hashes[index], index, size, (flipped, *proof[1:]), tree.root)


@pytest.mark.parametrize("index", [-1, 3])
def test_no_proof_of_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        MerkleTree([leaf_hash(b"")] * 3).proof(index)
