"""Which canaries a session asks, and in what order: neither side chooses (SPEC section 6.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from veritune.common.canonical import labelled_digest
from veritune.common.documents.manifest import Verification

SEED_LABEL = "veritune/v1/challenge-seed"


def challenge_seed(manifest_digest: str, training_receipt_digest: str) -> bytes:
    """32 bytes fixed once both sides have committed: the client to its canaries, the provider to its adapter."""
    return labelled_digest(SEED_LABEL, bytes.fromhex(manifest_digest), bytes.fromhex(training_receipt_digest))


def challenge_order(seed: bytes, leaf_hashes: Sequence[str]) -> list[int]:
    """Leaf indices by rising HMAC-SHA256(seed, leaf hash); leaf hashes differ, so the order is total."""
    keyed = [hmac.new(seed, bytes.fromhex(leaf), hashlib.sha256).digest() for leaf in leaf_hashes]
    return sorted(range(len(keyed)), key=lambda index: (keyed[index], index))


def session_leaves(order: Sequence[int], session: int, terms: Verification) -> list[int]:
    """The leaves that session 1, 2, ... opens, padding among them; empty once all have been opened.

    Under ``fixed`` it must open all of them, under ``sequential`` as many of the first as it asks.
    """
    if session < 1:
        raise ValueError("sessions count from 1")
    start = (session - 1) * terms.leaves_per_session
    return list(order[start : start + terms.leaves_per_session])


def leaves_available(session: int, terms: Verification) -> int:
    """How many leaves a session may open."""
    return len(session_leaves(range(terms.leaves), session, terms))
