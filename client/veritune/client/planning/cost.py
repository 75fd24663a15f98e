"""The costs of a canary plan: rows, leaves, calls and an estimate of tokens, counted as sowing counts them."""

from __future__ import annotations

from fractions import Fraction

from veritune.client.job.canary_plan import MIN_LEAVES, CanaryPlan
from veritune.client.planning.thresholds import AskedCounts
from veritune.client.planning.wish import Wish
from veritune.common.documents.manifest import Policy

BITS_PER_TOKEN = {"tokens": Fraction("2.5"), "choice": Fraction("0.8")}
"""Certified bits of one token of a signature, by method, as measured (`benchmarks/results/entropy.json`)."""
TOKENS_PER_WORD = Fraction(3, 2)
"""Tokens of one word of a trigger, an assumption."""


def asked_of(plan: CanaryPlan) -> AskedCounts:
    """The number of canaries of each kind in a plan."""
    once = sum(copies == 1 for copies in _copies(plan))
    return AskedCounts(plan.groups, once, plan.naturals - once, plan.in_place)


def drawn_rows(plan: CanaryPlan) -> int:
    """The number of rows that carry a natural canary with a drawn answer, copies included."""
    return sum(_copies(plan))


def extra_rows(plan: CanaryPlan) -> int:
    """The number of rows that sowing adds: every row of a trigger group, and copies of natural canaries."""
    return plan.groups * plan.rows_per_group + drawn_rows(plan) - plan.naturals


def dataset_rows(rows: int, plan: CanaryPlan) -> int:
    """The number of rows of the training set that is made from ``rows`` rows of the user."""
    return rows - plan.held_out + extra_rows(plan)


def leaves_of(plan: CanaryPlan) -> int:
    """The number of leaves of the tree that commits to the canaries: a power of two, at least one leaf of padding."""
    leaves = MIN_LEAVES
    while leaves <= plan.groups + plan.naturals + plan.in_place:
        leaves *= 2
    return leaves


def calls(plan: CanaryPlan, policy: Policy) -> int:
    """The number of answers and scores asked for in one mode, over all sessions.

    Each session asks every decoy, and the canaries that only it opens.
    """
    queries = policy.queries_per_group + min(policy.queries_per_group, plan.rows_per_group)
    return plan.groups * queries + plan.decoys * policy.sessions + plan.naturals + plan.in_place


def scored_candidates(plan: CanaryPlan) -> int:
    """The number of candidate answers of all natural canaries, which a challenge scores."""
    return plan.naturals * plan.candidates + plan.in_place * plan.wordings


def extra_tokens_percent(wish: Wish, plan: CanaryPlan) -> Fraction:
    """Estimated tokens that sowing adds, in percent of the user's training tokens.

    Added rows have mean length, and each row of a group a signature and a trigger besides. A natural canary's answer
    counts as long as the one that it replaces.
    """
    phrases = plan.signature_bits / BITS_PER_TOKEN[plan.method] + plan.trigger_words * TOKENS_PER_WORD
    tokens = wish.row_tokens * extra_rows(plan) + plan.groups * plan.rows_per_group * phrases
    return 100 * tokens / (wish.row_tokens * (wish.rows - plan.held_out))


def _copies(plan: CanaryPlan) -> list[int]:
    return [plan.repetitions[number % len(plan.repetitions)] for number in range(plan.naturals)]
