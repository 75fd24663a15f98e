"""The commitment to all canaries: one Merkle root, in the contract before the provider sees a row (SPEC section 4.4).

Leaves stand in a secret random order among padding, each under its own salt, so that the root shows neither how many
canaries there are nor, once some are opened, anything of the others.
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
    """One leaf of the canary tree: the canary behind it and its salt (32 bytes in hexadecimal)."""

    salt: HexDigest
    canary: AnyCanary


@dataclass(frozen=True)
class Commitment:
    """The tree's root, its leaf hashes (both hexadecimal) and what is behind each leaf, in leaf order."""

    root: str
    leaf_hashes: tuple[str, ...]
    leaves: tuple[SecretLeaf, ...]


def commit(canaries: Sequence[Canary], seed: bytes) -> Commitment:
    """Pads, orders and salts the canaries. Raises `PlanError` for more than fit a tree."""
    padded: list[Canary] = list(canaries)
    size = MIN_LEAVES
    # At least one leaf is padding, so that even the last unopened leaf may be nothing.
    while size <= len(padded):
        size *= 2
    if size > LIMITS.leaves:
        raise PlanError(f"{len(padded)} canaries need {size} leaves; a tree has {LIMITS.leaves} at most")
    padded += [PaddingCanary()] * (size - len(padded))
    SecretStream(seed, "leaf-order").shuffle(padded)
    return commit_to(
        [SecretLeaf(salt=leaf_salt(seed, index).hex(), canary=canary) for index, canary in enumerate(padded)]
    )


def commit_to(leaves: Sequence[SecretLeaf]) -> Commitment:
    """The commitment to leaves that are in order and salted already."""
    hashes = [canary_leaf(bytes.fromhex(leaf.salt), leaf.canary) for leaf in leaves]
    return Commitment(MerkleTree(hashes).root.hex(), tuple(leaf.hex() for leaf in hashes), tuple(leaves))


def leaf_salt(seed: bytes, index: int) -> bytes:
    """HMAC-SHA256(seed, label || 0x00 || index as 8 big-endian bytes)."""
    return hmac.digest(seed, _SALT_LABEL + index.to_bytes(8, "big"), "sha256")
