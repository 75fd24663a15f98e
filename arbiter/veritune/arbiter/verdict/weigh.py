"""P-values and coverage bound of what one mode showed, in fixed or sequential form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.coverage import Coverage, coverage_bound
from veritune.arbiter.statistics.exact import binomial_at_most
from veritune.arbiter.statistics.influence import Ranked, influence_p, rank_p, trigger_p
from veritune.arbiter.verdict.look import Look
from veritune.arbiter.verdict.rules import Rules


@dataclass(frozen=True)
class Weighed:
    """P-values and coverage of one mode, in either form; a field is None if no canary of its kind was asked."""

    p_triggers: Fraction | None
    p_ranks: Fraction | None
    p: Fraction
    covered: Coverage
    p_groups: Fraction | None
    """P-value of an honest run by its trigger groups; beta or less is a FAIL."""
    p_naturals: Fraction | None
    """P-value of an honest run by its natural canaries; beta or less is a FAIL."""


def weigh_fixed(rules: Rules, rows: int, look: Look) -> Weighed:
    """P-values and coverage for a session that asks all it opens: equations (1) to (4) and the tails of (6)."""
    groups, naturals = [item.group for item in look.groups], look.naturals
    single = [item for item in naturals if item.copies == 1]
    # With different numbers of candidates the largest luck of all is taken for each: too much credit to chance.
    luck = max((luck_of(rules, item) for item in single), default=Fraction(1))
    hits = hits_of(rules, naturals)
    return Weighed(
        p_triggers=trigger_p(groups) if groups else None,
        p_ranks=rank_p(naturals) if naturals else None,
        p=influence_p(groups, naturals),
        covered=coverage_bound(rows, len(single), hits_of(rules, single), luck, rules.confidence),
        p_groups=binomial_at_most(len(groups), rules.trigger_floor, look.groups_appeared) if groups else None,
        p_naturals=binomial_at_most(len(naturals), rules.natural_floor, hits) if naturals else None,
    )


def weigh_sequential(rules: Rules, rows: int, look: Look) -> Weighed:
    """P-values and coverage that hold wherever the challenge stopped: equations (7) to (10)."""
    groups, naturals = [item.group for item in look.groups], look.naturals
    single = [item for item in naturals if item.copies == 1]
    outcomes = [(luck_of(rules, item), item.rank <= rules.policy.hit_rank) for item in naturals]
    lucks = [luck_of(rules, item) for item in single if item.rank <= rules.policy.hit_rank]
    return Weighed(
        p_triggers=sequential.p_value(sequential.trigger_e(groups)) if groups else None,
        p_ranks=sequential.p_value(sequential.rank_e(naturals)) if naturals else None,
        p=sequential.p_value(sequential.influence_e(groups, naturals)),
        covered=sequential.coverage_bound(rows, len(single), lucks, rules.confidence),
        p_groups=sequential.honest_groups_p(len(groups), look.groups_appeared, rules.trigger_floor) if groups else None,
        p_naturals=sequential.honest_naturals_p(outcomes, rules.natural_floor) if naturals else None,
    )


def luck_of(rules: Rules, item: Ranked) -> Fraction:
    """The largest probability of a hit for a canary whose row was not trained on."""
    return min(Fraction(1), Fraction(rules.policy.hit_rank, item.candidates))


def hits_of(rules: Rules, naturals: Sequence[Ranked]) -> int:
    """Number of natural canaries whose true answer came within the policy's ``hit_rank``."""
    return sum(item.rank <= rules.policy.hit_rank for item in naturals)
