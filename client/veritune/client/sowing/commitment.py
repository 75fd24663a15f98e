"""The commitment to all canaries: a Merkle root that is signed before the provider sees a row (SPEC section 4.4).

The leaves are in a secret random order, with padding among them, and each has its own salt. So the root doesn't show
how many canaries there are, and canaries that are opened show nothing about the others.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from veritune.arbiter.documents.canary import AnyCanary, Canary, PaddingCanary, canary_leaf
from veritune.client.job.canary_plan import MIN_LEAVES
from veritune.client.randomness import SecretStream
from veritune.common.documents.base import Document, HexDigest
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS
from veritune.common.merkle import MerkleTree

_SALT_LABEL = b"veritune/v1/canary-salt\x00"


class SecretLeaf(Document):
    """One leaf of the canary tree before it is hashed: a canary, or padding, and its salt (32 bytes in hexadecimal)."""

    salt: HexDigest
    canary: AnyCanary


@dataclass(frozen=True)
class Commitment:
    """The tree's root and leaf hashes, in hexadecimal, and the secret content of each leaf, all in leaf order."""

    root: str
    leaf_hashes: tuple[str, ...]
    leaves: tuple[SecretLeaf, ...]


def commit(canaries: Sequence[Canary], seed: bytes) -> Commitment:
    """The commitment to these canaries and padding, in an order and with salts that ``seed`` decides.

    Raises `PlanError` for more canaries than a tree holds (`LIMITS.leaves`, one of them padding).
    """
    padded: list[Canary] = list(canaries)
    size = MIN_LEAVES
    # At least one leaf is padding, so that even the last unopened leaf may be nothing.
    while size <= len(padded):
        size *= 2
    if size > LIMITS.leaves:
        raise PlanError(
            f"{len(padded)} canaries need {size} leaves; a tree has {LIMITS.leaves} at most", cause="leaves"
        )
    padded += [PaddingCanary()] * (size - len(padded))
    SecretStream(seed, "leaf-order").shuffle(padded)
    return commit_to(
        [SecretLeaf(salt=leaf_salt(seed, index).hex(), canary=canary) for index, canary in enumerate(padded)]
    )


def commit_to(leaves: Sequence[SecretLeaf]) -> Commitment:
    """The commitment to leaves that already have their order and salts."""
    hashes = [canary_leaf(bytes.fromhex(leaf.salt), leaf.canary) for leaf in leaves]
    return Commitment(MerkleTree(hashes).root.hex(), tuple(leaf.hex() for leaf in hashes), tuple(leaves))


def leaf_salt(seed: bytes, index: int) -> bytes:
    """The salt of a leaf, 32 bytes: HMAC-SHA256(seed, label || 0x00 || index as 8 big-endian bytes)."""
    return hmac.digest(seed, _SALT_LABEL + index.to_bytes(8, "big"), "sha256")
