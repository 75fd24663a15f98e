"""One session's canaries and questions, put together before anything is asked."""

from __future__ import annotations

from dataclasses import dataclass

from veritune.arbiter.documents.canary import Canary, TriggerCanary
from veritune.arbiter.selection import challenge_order, challenge_seed, session_leaves
from veritune.client.sowing.commitment import Commitment
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import TrainingReceipt
from veritune.common.errors import PlanError, UsageError
from veritune.common.inference import SamplingTerms
from veritune.common.signing import Signed

_MARGIN = 8
"""Tokens beyond a signature that an answer must have room for: a model may begin with white space."""


@dataclass(frozen=True)
class SessionLeaves:
    """Which leaves a session may open, in order, with their canaries, and the seed of the order.

    Under ``fixed`` it opens all of them; under ``sequential`` the first ones, and the others stay secret.
    """

    session: int
    seed: bytes
    leaves: tuple[int, ...]
    canaries: dict[int, Canary]
    """By leaf, padding included."""


def leaves_of_session(
    commitment: Commitment, contract: Signed[Manifest], training_receipt: Signed[TrainingReceipt], session: int
) -> SessionLeaves:
    """What the seed picks for a session. Raises `UsageError` for one that the contract does not allow."""
    terms = contract.document.verification
    seed = challenge_seed(contract.digest, training_receipt.digest)
    leaves = session_leaves(challenge_order(seed, commitment.leaf_hashes), session, terms)
    if session > terms.policy.sessions or not leaves:
        raise UsageError(f"the contract allows {terms.policy.sessions} session(s), each with leaves of its own")
    return SessionLeaves(session, seed, tuple(leaves), {leaf: commitment.leaves[leaf].canary for leaf in leaves})


def sampling_for(picked: SessionLeaves, max_tokens: int) -> SamplingTerms:
    """Greedy, with room for the longest signature. Raises `PlanError` where ``max_tokens`` has none."""
    longest = max((len(c.token_bits) for c in picked.canaries.values() if isinstance(c, TriggerCanary)), default=0)
    if max_tokens < longest + _MARGIN:
        raise PlanError(
            f"challenge.max_tokens is {max_tokens}, but the longest signature has {longest} tokens; "
            f"set it to {longest + _MARGIN} or more"
        )
    return SamplingTerms(max_tokens=max_tokens)
