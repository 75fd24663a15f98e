"""The leaves, canaries and sampling settings of one session, which are fixed before anything is asked."""

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
"""Number of tokens that an answer may have besides a signature: a model may begin with white space."""


@dataclass(frozen=True)
class SessionLeaves:
    """The leaves that a session may open, in the order in which they are asked, and the seed of that order.

    With ``stopping = "fixed"`` the evidence opens all of them; with ``"sequential"`` only the first ones, and the
    others stay secret.
    """

    session: int
    seed: bytes
    leaves: tuple[int, ...]
    canaries: dict[int, Canary]
    """The canary behind each of these leaves, padding included."""


def leaves_of_session(
    commitment: Commitment, contract: Signed[Manifest], training_receipt: Signed[TrainingReceipt], session: int
) -> SessionLeaves:
    """The leaves that the seed of contract and training receipt gives to a session (SPEC section 6.1).

    Raises `UsageError` for a session that the contract doesn't allow or that gets no leaves.
    """
    terms = contract.document.verification
    seed = challenge_seed(contract.digest, training_receipt.digest)
    leaves = session_leaves(challenge_order(seed, commitment.leaf_hashes), session, terms)
    if session > terms.policy.sessions or not leaves:
        raise UsageError(f"the contract allows {terms.policy.sessions} session(s), each with leaves of its own")
    return SessionLeaves(session, seed, tuple(leaves), {leaf: commitment.leaves[leaf].canary for leaf in leaves})


def sampling_for(picked: SessionLeaves, max_tokens: int) -> SamplingTerms:
    """Greedy sampling settings. Raises `PlanError` if ``max_tokens`` leaves no room for the longest signature."""
    longest = max((len(c.token_bits) for c in picked.canaries.values() if isinstance(c, TriggerCanary)), default=0)
    if max_tokens < longest + _MARGIN:
        raise PlanError(
            f"challenge.max_tokens is {max_tokens}, but the longest signature has {longest} tokens; "
            f"set it to {longest + _MARGIN} or more",
            setting="challenge.max_tokens",
        )
    return SamplingTerms(max_tokens=max_tokens)
