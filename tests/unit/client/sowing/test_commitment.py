"""The canary tree: it binds, it hides the number of canaries, and every leaf opens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.errors import fails
from tests.support.plans import natural_canary
from veritune.arbiter.documents.canary import Canary, NaturalCanary, PaddingCanary, canary_leaf
from veritune.client.sowing.commitment import Commitment, commit, commit_to
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS
from veritune.common.merkle import MerkleTree, verify_inclusion

SEED = b"c" * 32


def opens(commitment: Commitment) -> bool:
    leaves = [bytes.fromhex(leaf) for leaf in commitment.leaf_hashes]
    tree, root = MerkleTree(leaves), bytes.fromhex(commitment.root)
    return all(
        canary_leaf(bytes.fromhex(leaf.salt), leaf.canary) == leaves[i]
        and verify_inclusion(leaves[i], i, len(leaves), tree.proof(i), root)
        for i, leaf in enumerate(commitment.leaves)
    )


@given(st.integers(0, 70), st.binary(min_size=32, max_size=32))
def test_every_canary_is_there_once_among_padding(count: int, seed: bytes) -> None:
    canaries = [natural_canary(i) for i in range(count)]
    commitment = commit(canaries, seed)
    size = len(commitment.leaves)
    assert size >= 16
    assert size & (size - 1) == 0
    assert count < size <= max(16, 2 * count)
    held = [leaf.canary for leaf in commitment.leaves]
    assert sorted(c.rows[0] for c in held if isinstance(c, NaturalCanary)) == list(range(count))
    assert sum(isinstance(c, PaddingCanary) for c in held) == size - count
    salts = [leaf.salt for leaf in commitment.leaves]
    assert len(set(salts)) == len(set(commitment.leaf_hashes)) == size
    assert opens(commitment)
    assert commitment == commit(canaries, seed) == commit_to(commitment.leaves)


def test_order_salt_and_content_depend_on_the_seed() -> None:
    canaries = [natural_canary(i) for i in range(20)]
    one, other = commit(canaries, SEED), commit(canaries, b"d" * 32)
    assert one.root != other.root
    assert set(one.leaf_hashes).isdisjoint(other.leaf_hashes)
    places = [[leaf.canary for leaf in c.leaves].index(natural_canary(3)) for c in (one, other)]
    assert places != [3, 3]


@given(st.integers(0, 19))
def test_any_other_canary_gives_another_root(changed: int) -> None:
    canaries: list[Canary] = [natural_canary(i) for i in range(20)]
    honest = commit(canaries, SEED)
    canaries[changed] = natural_canary(changed, truth=1)
    assert commit(canaries, SEED).root != honest.root


def test_refuses_more_than_a_tree_holds() -> None:
    with fails(PlanError, cause="leaves"):
        commit([natural_canary(0)] * LIMITS.leaves, SEED)
