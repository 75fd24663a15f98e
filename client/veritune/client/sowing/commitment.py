"""The commitment to all canaries: one Merkle root, in the contract before the provider sees a row (SPEC section 4.4).

Leaves stand in a secret random order among padding, each under its own salt, so that the root shows neither how many
canaries there are nor, once some are opened, anything of the others.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from veritune.arbiter.documents.canary import Canary, PaddingCanary, canary_leaf
from veritune.client.job.canary_plan import MIN_LEAVES
from veritune.client.randomness import SecretStream
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS
from veritune.common.merkle import MerkleTree

_SALT_LABEL = b"veritune/v1/canary-salt\x00"


@dataclass(frozen=True)
class Commitment:
    """The tree's root (hexadecimal), its leaf hashes and what is behind each leaf, in leaf order."""

    root: str
    leaf_hashes: tuple[str, ...]
    entries: tuple[tuple[bytes, Canary], ...]


def commit(canaries: Sequence[Canary], seed: bytes) -> Commitment:
    """Pads, orders and salts the canaries. Raises `PlanError` for more than fit a tree."""
    leaves: list[Canary] = list(canaries)
    size = MIN_LEAVES
    # At least one leaf is padding, so that even the last unopened leaf may be nothing.
    while size <= len(leaves):
        size *= 2
    if size > LIMITS.leaves:
        raise PlanError(f"{len(leaves)} canaries need {size} leaves; a tree has {LIMITS.leaves} at most")
    leaves += [PaddingCanary()] * (size - len(leaves))
    SecretStream(seed, "leaf-order").shuffle(leaves)
    return from_entries([(leaf_salt(seed, index), canary) for index, canary in enumerate(leaves)])


def from_entries(entries: Sequence[tuple[bytes, Canary]]) -> Commitment:
    """The commitment to leaves that are in order and salted already."""
    hashes = [canary_leaf(salt, canary) for salt, canary in entries]
    return Commitment(MerkleTree(hashes).root.hex(), tuple(leaf.hex() for leaf in hashes), tuple(entries))


def leaf_salt(seed: bytes, index: int) -> bytes:
    """HMAC-SHA256(seed, label || 0x00 || index as 8 big-endian bytes)."""
    return hmac.digest(seed, _SALT_LABEL + index.to_bytes(8, "big"), "sha256")
