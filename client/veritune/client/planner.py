"""How many canaries a contract needs, by exact tails; no model, no torch (docs/statistics.md, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

from veritune.client.canary_plan import CanaryPlan
from veritune.client.coverage import coverage_bound
from veritune.client.exact import binomial_at_least, binomial_at_most, floor_text, log10_text, parse_probability
from veritune.client.influence import Group, RankNull, combine, rank_weight, trigger_p
from veritune.client.verdict import Rules
from veritune.common.documents import Policy
from veritune.common.errors import PlanError

CHARACTERS_PER_BIT = 6
"""Assumed upper bound on the length of a signature; the verdict uses the real one."""
MIN_LEAVES = 16
MOST_NATURALS = 1024


@dataclass(frozen=True)
class Wish:
    """What is known and wanted. Probabilities are decimal strings."""

    rows: int
    """Rows of the user's file."""
    policy: Policy = field(default_factory=Policy)
    base: CanaryPlan = field(default_factory=CanaryPlan)
    """Everything but the number of natural canaries is taken from here."""
    activation: str = "0.9"
    """Probability that an honest run makes one group's signature appear, from calibration of the recipe."""
    natural_hit: str = "0.8"
    """Probability that an honest run ranks one natural canary's answer within the policy's ``hit_rank``."""
    refusal: str = "0.01"
    """Most often that an honest provider may fail to get a PASS."""
    escape: str = "0.01"
    """Most often that the untouched base model may fail to get a FAIL."""
    canary_share: str = "0.1"
    """Most canary rows, as a share of the data set's."""


@dataclass(frozen=True)
class Figures:
    """What a plan costs and brings. Probabilities are decimal strings, rounded towards the worse."""

    dataset_rows: int
    canary_rows: int
    extra_rows: int
    """Rows that would not be there without canaries; a natural canary takes the place of a row."""
    leaves: int
    calls: int
    """Answers and scores asked for by one look at the model."""
    honest_pass: str
    untrained_fail: str
    log10_p_all: str
    """Influence p-value where every canary succeeds."""


@dataclass(frozen=True)
class Planned:
    """A plan that reaches its aims, and its figures."""

    plan: CanaryPlan
    figures: Figures


def plan(wish: Wish) -> Planned:
    """The plan with the fewest natural canaries that reaches every aim; `PlanError` says what would be needed."""
    policy, base = wish.policy, wish.base
    if policy.sessions != 1:
        raise PlanError("the planner plans for one session; divide the work by hand, or ask for one session")
    if "served" in policy.modes and policy.served_assumption == "none":
        raise PlanError(
            "a served mode without an assumption never passes; drop it from the modes or state the assumption"
        )
    if base.queries_per_group < policy.queries_per_group:
        raise PlanError(
            f"the policy asks for {policy.queries_per_group} queries a group; raise queries_per_group to that"
        )
    left = wish.rows - base.held_out
    if left < 1:
        raise PlanError(f"{base.held_out} rows are to be held out, and there are only {wish.rows}")
    _check_reachable(wish)
    rows = left + base.groups * base.rows_per_group
    room = min(left, int(parse_probability(wish.canary_share) * rows) - base.groups * base.rows_per_group)
    refusal, escape = parse_probability(wish.refusal), parse_probability(wish.escape)
    best = (Fraction(0), Fraction(0))
    for naturals in _numbers(rows):
        odds = _Odds(wish, rows, naturals)
        honest, untrained = odds.honest_pass(), odds.untrained_fail()
        best = max(best[0], honest), max(best[1], untrained)
        if honest < 1 - refusal or untrained < 1 - escape:
            continue
        if naturals > room:
            needed = math.ceil((naturals + base.groups * base.rows_per_group) / parse_probability(wish.canary_share))
            raise PlanError(
                f"{naturals} natural canaries are needed and there is room for {max(0, room)}: use at least "
                f"{needed + base.held_out} rows, allow a larger share of canaries, or ask for less",
                naturals=str(naturals),
            )
        return Planned(base.model_copy(update={"naturals": naturals}), _figures(wish, rows, naturals, odds))
    raise PlanError(
        f"no number of natural canaries up to {MOST_NATURALS} is enough: at best an honest run passes with probability "
        f"{floor_text(best[0])} and the base model fails with probability {floor_text(best[1])}; lower the floors, "
        "ask for a larger alpha, or use a recipe that teaches the canaries better"
    )


def _check_reachable(wish: Wish) -> None:
    """With ever more canaries the coverage bound tends to (hit - luck) / (1 - luck): no more can be shown."""
    luck = Fraction(wish.policy.hit_rank, wish.base.candidates)
    hit, floor = parse_probability(wish.natural_hit), parse_probability(wish.policy.coverage_floor)
    if luck >= 1:
        raise PlanError(f"every rank is a hit at {wish.base.candidates} candidates; use more candidates")
    most = max(Fraction(0), (hit - luck) / (1 - luck))
    if 0 < floor >= most:
        raise PlanError(
            f"where {wish.natural_hit} of the natural canaries hit, no more than {floor_text(most)} of the rows can be "
            f"shown to be trained on, and the policy asks for {wish.policy.coverage_floor}; lower coverage_floor, "
            "or use a recipe that teaches the canaries better",
            coverage=floor_text(most),
        )


class _Odds:
    """The verdict's rules turned round: which numbers of groups and hits pass, and how likely they are."""

    def __init__(self, wish: Wish, rows: int, naturals: int) -> None:
        self._wish, self._rows, self._naturals = wish, rows, naturals
        self._groups = wish.base.groups
        self._rules = Rules.of(wish.policy)
        self._null = RankNull({wish.base.candidates: naturals})
        self._luck = Fraction(wish.policy.hit_rank, wish.base.candidates)

    def p_value(self, groups: int, hits: int) -> Fraction:
        """Influence, where every hit has the worst rank that is a hit and every miss weighs nothing."""
        if not self._naturals:
            return self._trigger_p(groups)
        ranks = self._null.at_least(hits * rank_weight(self._wish.policy.hit_rank, self._wish.base.candidates))
        return combine(self._trigger_p(groups), ranks) if self._groups else ranks

    def honest_pass(self) -> Fraction:
        """At the wish's activation and hit rate."""
        if not self._groups and not self._naturals:
            return Fraction(0)
        activation, hit = parse_probability(self._wish.activation), parse_probability(self._wish.natural_hit)
        enough = max(self._first_hits(self._covers), self._not_failing(self._naturals, self._rules.natural_floor))
        first = self._not_failing(self._groups, self._rules.trigger_floor)
        total = Fraction(0)
        for groups in range(first, self._groups + 1):
            ways = math.comb(self._groups, groups)
            chance = ways * activation**groups * (1 - activation) ** (self._groups - groups)
            hits = max(enough, self._first_hits(partial(self._influences, groups)))
            total += chance * binomial_at_least(self._naturals, hit, hits)
        return total

    def untrained_fail(self) -> Fraction:
        """No signature appears, and natural canaries hit by luck alone."""
        if self._not_failing(self._groups, self._rules.trigger_floor) > 0:
            return Fraction(1)
        return binomial_at_most(
            self._naturals, self._luck, self._not_failing(self._naturals, self._rules.natural_floor) - 1
        )

    def _trigger_p(self, found: int) -> Fraction:
        base, bits = self._wish.base, self._wish.base.signature_bits
        length = min(4000, CHARACTERS_PER_BIT * bits)
        queries = self._wish.policy.queries_per_group
        return trigger_p([Group(queries, bits, length, index < found) for index in range(base.groups)])

    def _influences(self, groups: int, hits: int) -> bool:
        return self.p_value(groups, hits) <= self._rules.alpha

    def _covers(self, hits: int) -> bool:
        bound = coverage_bound(self._rows, self._naturals, hits, self._luck, self._rules.confidence)
        return bound.share >= self._rules.coverage_floor

    def _first_hits(self, enough: Callable[[int], bool]) -> int:
        """The fewest hits that are enough; one more than there can be where none are. ``enough`` is monotone."""
        low, high = 0, self._naturals + 1
        while low < high:
            middle = (low + high) // 2
            if middle > self._naturals or enough(middle):
                high = middle
            else:
                low = middle + 1
        return low

    def _not_failing(self, canaries: int, floor: Fraction) -> int:
        """The fewest successes that an honest run at ``floor`` has too often for a FAIL."""
        if not canaries:
            return 0
        return next(n for n in range(canaries + 1) if binomial_at_most(canaries, floor, n) > self._rules.beta)


def _numbers(rows: int) -> Iterator[int]:
    """Numbers of natural canaries to try, ever more coarsely."""
    number = 0
    while number <= min(rows, MOST_NATURALS):
        yield number
        number += max(2, number // 16 * 2)


def _figures(wish: Wish, rows: int, naturals: int, odds: _Odds) -> Figures:
    base = wish.base
    leaves = MIN_LEAVES
    while leaves <= base.groups + naturals:
        leaves *= 2
    extra = base.groups * base.rows_per_group
    return Figures(
        dataset_rows=rows,
        canary_rows=extra + naturals,
        extra_rows=extra,
        leaves=leaves,
        calls=base.groups * (wish.policy.queries_per_group + base.rows_per_group) + base.decoys + naturals,
        honest_pass=floor_text(odds.honest_pass(), 6),
        untrained_fail=floor_text(odds.untrained_fail(), 6),
        log10_p_all=log10_text(odds.p_value(base.groups, naturals)),
    )
