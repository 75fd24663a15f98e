"""The looks that the planner counts on: so many canaries asked, so many of them found."""

from __future__ import annotations

from veritune.arbiter.statistics.influence import GroupResult, Ranked
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.arbiter.verdict.rules import Rules
from veritune.client.planning.thresholds import CHARACTERS_PER_BIT, AskedCounts, Terms
from veritune.common.documents.manifest import Policy

ROWS = 120


def terms(policy: Policy, candidates: int = 12, wordings: int = 6, bits: int = 20) -> Terms:
    return Terms(Rules.of(policy), ROWS, policy.queries_per_group, bits, candidates, wordings)


def look(of: Terms, asked: AskedCounts, found: int, single: int, repeated: int, placed: int) -> Look:
    """Every hit at the worst rank that is one, every miss at the last."""
    rank = of.rules.policy.hit_rank
    group_looks = [
        GroupLook(GroupResult(of.queries, of.bits, CHARACTERS_PER_BIT * of.bits, index < found), 0, 0, 0, True)
        for index in range(asked.groups)
    ]
    naturals = [
        Ranked(rank if index < hits else candidates, candidates, copies)
        for hits, number, candidates, copies in (
            (single, asked.single, of.candidates, 1),
            (repeated, asked.repeated, of.candidates, 2),
            (placed, asked.in_place, of.wordings, 1),
        )
        for index in range(number)
    ]
    return Look("delivered", tuple(group_looks), tuple(naturals), 0, 0, 0)
