"""Which canaries a session asks, and in what order: neither side chooses (SPEC section 6.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from veritune.common.canonical import labelled_digest
from veritune.common.documents.manifest import Verification

SEED_LABEL = "veritune/v1/challenge-seed"


def challenge_seed(manifest_digest: str, training_receipt_digest: str) -> bytes:
    """The seed of a challenge, 32 bytes: fixed once client and provider have committed to canaries and adapter."""
    return labelled_digest(SEED_LABEL, bytes.fromhex(manifest_digest), bytes.fromhex(training_receipt_digest))


def challenge_order(seed: bytes, leaf_hashes: Sequence[str]) -> list[int]:
    """Leaf indices sorted by HMAC-SHA256(seed, leaf hash); leaf hashes differ, so the order is total."""
    keyed = [hmac.new(seed, bytes.fromhex(leaf), hashlib.sha256).digest() for leaf in leaf_hashes]
    return sorted(range(len(keyed)), key=lambda index: (keyed[index], index))


def session_leaves(order: Sequence[int], session: int, terms: Verification) -> list[int]:
    """The leaves that session 1, 2, ... may open, padding included; empty once all have been opened.

    Under ``fixed`` a session must open all of them, under ``sequential`` the first ones, as many as it asks. Raises
    ``ValueError`` for a session below 1.
    """
    if session < 1:
        raise ValueError("sessions count from 1")
    start = (session - 1) * terms.leaves_per_session
    return list(order[start : start + terms.leaves_per_session])


def leaves_available(session: int, terms: Verification) -> int:
    """Number of leaves that a session may open."""
    return len(session_leaves(range(terms.leaves), session, terms))
