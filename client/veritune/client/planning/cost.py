"""What a plan costs: rows, leaves, calls, and an estimate of tokens. Plain counting, as `sow` and `commit` do it."""

from __future__ import annotations

from fractions import Fraction

from veritune.client.job.canary_plan import MIN_LEAVES, CanaryPlan
from veritune.client.planning.thresholds import AskedCounts
from veritune.client.planning.wish import Wish
from veritune.common.documents.manifest import Policy

BITS_PER_TOKEN = {"tokens": Fraction("2.5"), "choice": Fraction("0.8")}
"""Certified bits of one token of a signature, by method, as measured (`benchmarks/results/entropy.json`)."""
TOKENS_PER_WORD = Fraction(3, 2)
"""Of a trigger; assumed."""


def asked_of(plan: CanaryPlan) -> AskedCounts:
    """All canaries of a plan by kind."""
    once = sum(copies == 1 for copies in _copies(plan))
    return AskedCounts(plan.groups, once, plan.naturals - once, plan.in_place)


def drawn_rows(plan: CanaryPlan) -> int:
    """Rows that carry a drawn natural canary."""
    return sum(_copies(plan))


def extra_rows(plan: CanaryPlan) -> int:
    """Rows that would not be there without canaries: every row of a group, and copies of natural canaries."""
    return plan.groups * plan.rows_per_group + drawn_rows(plan) - plan.naturals


def dataset_rows(rows: int, plan: CanaryPlan) -> int:
    """Of the training set made from ``rows`` rows of the user."""
    return rows - plan.held_out + extra_rows(plan)


def leaves_of(plan: CanaryPlan) -> int:
    """Of the commitment: a power of two, one leaf of padding at least."""
    leaves = MIN_LEAVES
    while leaves <= plan.groups + plan.naturals + plan.in_place:
        leaves *= 2
    return leaves


def calls(plan: CanaryPlan, policy: Policy) -> int:
    """Answers and scores of one look at the model in all sessions: each asks every decoy, and canaries of its own."""
    queries = policy.queries_per_group + min(policy.queries_per_group, plan.rows_per_group)
    return plan.groups * queries + plan.decoys * policy.sessions + plan.naturals + plan.in_place


def scored_candidates(plan: CanaryPlan) -> int:
    """Candidates of all natural canaries."""
    return plan.naturals * plan.candidates + plan.in_place * plan.wordings


def extra_tokens_percent(wish: Wish, plan: CanaryPlan) -> Fraction:
    """Estimate: extra rows of mean length, with a signature and a trigger in each row of a group.

    A natural canary's answer is taken to be as long as the one that it replaces.
    """
    phrases = plan.signature_bits / BITS_PER_TOKEN[plan.method] + plan.trigger_words * TOKENS_PER_WORD
    tokens = wish.row_tokens * extra_rows(plan) + plan.groups * plan.rows_per_group * phrases
    return 100 * tokens / (wish.row_tokens * (wish.rows - plan.held_out))


def _copies(plan: CanaryPlan) -> list[int]:
    return [plan.repetitions[number % len(plan.repetitions)] for number in range(plan.naturals)]
