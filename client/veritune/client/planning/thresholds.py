"""The verdict's rules inverted: which numbers of groups found and of hits pass or fail (docs/statistics.md, section 5).

Every hit counts with the worst rank that is a hit, every miss with the last rank, and every canary with the largest
probability of a lucky hit. So a run that passes here passes in the verdict too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache

from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.coverage import coverage_bound
from veritune.arbiter.statistics.exact import binomial_at_most
from veritune.arbiter.statistics.influence import GroupResult, Ranked, RankNull, combine, rank_weight, trigger_p
from veritune.arbiter.verdict.rules import Rules

CHARACTERS_PER_BIT = 6
"""Assumed upper bound on a signature's characters for each of its bits; the verdict uses the real length."""
_EXACT_UP_TO = 192
"""Natural canaries up to which the rank test is exact. Of more, the verdict has no exact distribution either, unless
they have few candidates."""
_TILTS = tuple(Fraction(n, 16) for n in (17, 18, 19, 20, 22, 24))
"""Values of t for Chernoff's inequality, among those that `RankNull` tries."""


@dataclass(frozen=True)
class AskedCounts:
    """The number of canaries of each kind that one session asks."""

    groups: int
    """Number of trigger groups."""
    single: int
    """Drawn natural canaries of one row."""
    repeated: int
    """Drawn natural canaries of several rows."""
    in_place: int

    @property
    def drawn(self) -> int:
        """All drawn natural canaries, of one row or several."""
        return self.single + self.repeated

    @property
    def naturals(self) -> int:
        """All natural canaries, drawn and in place."""
        return self.drawn + self.in_place


@dataclass(frozen=True)
class Terms:
    """The numbers that a verdict depends on, besides the results of the canaries."""

    rules: Rules
    rows: int
    """Rows of the data set."""
    queries: int
    """Held-out queries of each trigger group."""
    bits: int
    """Certified bits of each signature."""
    candidates: int
    """Candidate answers of a drawn natural canary."""
    wordings: int
    """Wordings of a canary in place."""

    @property
    def lucks(self) -> tuple[Fraction, Fraction]:
        """Hit probabilities of canaries whose row was not trained on: (of a drawn one, of one in place), at most."""
        rank = self.rules.policy.hit_rank
        return min(Fraction(1), Fraction(rank, self.candidates)), min(Fraction(1), Fraction(rank, self.wordings))


class Thresholds:
    """The numbers of groups found and of hits from which on each rule of the verdict is met in one session.

    ``rough`` bounds the rank test by Chernoff's inequality only, which is quick and gives a larger p-value.
    """

    def __init__(self, terms: Terms, asked: AskedCounts, rough: bool = False) -> None:
        self._terms, self._asked, self._rough = terms, asked, rough or asked.naturals > _EXACT_UP_TO
        self._rules = terms.rules
        self._sequential = terms.rules.policy.stopping == "sequential"

    @cached_property
    def found_at_least(self) -> int:
        """The fewest groups found that are no FAIL: an honest run finds no more with a probability above beta."""
        groups, rules = self._asked.groups, self._rules
        return _fewest(lambda found: _honest_groups_p(rules, groups, found) > rules.beta, groups, 0)

    @cached_property
    def single_at_least(self) -> int:
        """The fewest hits of canaries of one row that reach the coverage floor; one more than there are if none do."""
        asked, (drawn, placed) = self._asked, self._terms.lucks
        luck = max([drawn] * (asked.single > 0) + [placed] * (asked.in_place > 0), default=Fraction(1))
        return _fewest_covering(
            self._sequential,
            self._terms.rows,
            asked.single + asked.in_place,
            luck,
            self._rules.confidence,
            self._rules.coverage_floor,
        )

    def drawn_at_least(self, placed: int) -> int:
        """The fewest hits of drawn canaries that are no FAIL, given ``placed`` hits of canaries in place."""
        if self._sequential:
            rules = self._rules
            return _fewest(lambda drawn: self._honest_naturals_p(drawn, placed) > rules.beta, self._asked.drawn, 0)
        return max(0, self._hits_at_least - placed)

    def influencing(self, found: int, placed: int, least: int) -> int:
        """The fewest hits of drawn canaries, from ``least`` on, that show influence, given ``found`` groups found and
        ``placed`` hits in place; one more than there are if none do."""
        drawn, alpha = self._asked.drawn, self._rules.alpha
        if least > drawn or self._quick_p(found, least, placed) <= alpha:
            return least
        if self._rough:
            return _fewest(lambda hits: self._quick_p(found, hits, placed) <= alpha, drawn, least)
        return _fewest(lambda hits: self.p_value(found, hits, placed) <= alpha, drawn, least)

    def p_value(self, found: int, drawn: int, placed: int) -> Fraction:
        """The influence p-value of ``found`` groups, ``drawn`` hits of drawn canaries and ``placed`` hits in place.

        Equations (1) to (3) under ``fixed`` stopping, (7) and (8) under ``sequential``.
        """
        if self._sequential:
            return self._sequential_p(found, drawn, placed)
        return self._both(found, _null_tail(self._kinds, self._weight(drawn, placed)))

    @cached_property
    def _hits_at_least(self) -> int:
        """The fewest hits of all natural canaries that are no FAIL under ``fixed`` stopping."""
        naturals, rules = self._asked.naturals, self._rules
        return _fewest_honest(naturals, rules.natural_floor, rules.beta)

    @cached_property
    def _kinds(self) -> tuple[tuple[int, int], ...]:
        """Pairs (number of candidates, natural canaries that have it), sorted."""
        kinds = Counter({self._terms.candidates: self._asked.drawn})
        kinds[self._terms.wordings] += self._asked.in_place
        return tuple(sorted((+kinds).items()))

    def _weight(self, drawn: int, placed: int) -> int:
        terms, rank = self._terms, self._rules.policy.hit_rank
        return sum(
            hits * rank_weight(min(rank, candidates), candidates)
            for hits, candidates in ((drawn, terms.candidates), (placed, terms.wordings))
        )

    def _both(self, found: int, ranks: Fraction) -> Fraction:
        """The p-value of groups and ranks together, equation (3), as the verdict combines them."""
        if not self._asked.groups:
            return ranks
        triggers = trigger_p(self._groups(found))
        return _combined(triggers, ranks) if self._asked.naturals else triggers

    def _quick_p(self, found: int, drawn: int, placed: int) -> Fraction:
        """An upper bound on `p_value`; if it is small enough, no exact distribution is needed."""
        if self._sequential:
            return self._sequential_p(found, drawn, placed)
        return self._both(found, _chernoff(self._kinds, self._weight(drawn, placed)))

    def _sequential_p(self, found: int, drawn: int, placed: int) -> Fraction:
        ranks = _rank_e(self._rules.policy.hit_rank, self._outcomes(drawn, placed))
        return sequential.p_value(sequential.trigger_e(self._groups(found)) * ranks)

    def _honest_naturals_p(self, drawn: int, placed: int) -> Fraction:
        if not self._asked.naturals:
            return Fraction(1)
        return _honest_naturals_p(self._rules, self._outcomes(drawn, placed))

    def _outcomes(self, drawn: int, placed: int) -> _Outcomes:
        terms, asked = self._terms, self._asked
        return (terms.candidates, drawn, asked.drawn), (terms.wordings, placed, asked.in_place)

    def _groups(self, found: int) -> list[GroupResult]:
        terms = self._terms
        length = min(sequential.LONGEST, CHARACTERS_PER_BIT * terms.bits)
        return [GroupResult(terms.queries, terms.bits, length, index < found) for index in range(self._asked.groups)]


def _honest_groups_p(rules: Rules, groups: int, found: int) -> Fraction:
    if rules.policy.stopping == "sequential":
        return sequential.honest_groups_p(groups, found, rules.trigger_floor)
    return binomial_at_most(groups, rules.trigger_floor, found)


@lru_cache(maxsize=4096)
def _fewest_honest(canaries: int, floor: Fraction, beta: Fraction) -> int:
    return _fewest(lambda hits: binomial_at_most(canaries, floor, hits) > beta, canaries, 0)


@lru_cache(maxsize=4096)
def _fewest_covering(
    in_sequence: bool, rows: int, asked: int, luck: Fraction, confidence: Fraction, floor: Fraction
) -> int:
    if not floor:
        return 0

    def covers(hits: int) -> bool:
        if in_sequence:
            return sequential.coverage_bound(rows, asked, [luck] * hits, confidence).share >= floor
        return coverage_bound(rows, asked, hits, luck, confidence).share >= floor

    guess, apart = math.ceil(asked * (floor + (1 - floor) * luck)) + math.isqrt(asked), 2 + math.isqrt(asked) // 4
    return _fewest(covers, asked, 0, (guess, guess + apart, guess - apart))


_Outcomes = tuple[tuple[int, int, int], ...]
"""For each kind of natural canary (number of candidates, hits, canaries asked)."""


@lru_cache(maxsize=1 << 16)
def _rank_e(hit_rank: int, outcomes: _Outcomes) -> Fraction:
    return sequential.rank_e(
        [
            Ranked(min(hit_rank, candidates) if index < hits else candidates, candidates)
            for candidates, hits, asked in outcomes
            for index in range(asked)
        ]
    )


@lru_cache(maxsize=1 << 16)
def _honest_naturals_p(rules: Rules, outcomes: _Outcomes) -> Fraction:
    lucks = [
        (min(Fraction(1), Fraction(rules.policy.hit_rank, candidates)), index < hits)
        for candidates, hits, asked in outcomes
        for index in range(asked)
    ]
    return sequential.honest_naturals_p(lucks, rules.natural_floor)


@lru_cache(maxsize=32)
def _null(kinds: tuple[tuple[int, int], ...]) -> RankNull:
    return RankNull(dict(kinds))


@lru_cache(maxsize=1 << 16)
def _null_tail(kinds: tuple[tuple[int, int], ...], seen: int) -> Fraction:
    return _null(kinds).at_least(seen)


_combined = lru_cache(maxsize=1 << 16)(combine)


@lru_cache(maxsize=1024)
def _tilted(candidates: int, tilt: Fraction) -> Fraction:
    """E[t**w(R)] of a uniform rank R."""
    ranks = range(1, candidates + 1)
    return sum((tilt ** rank_weight(rank, candidates) for rank in ranks), start=Fraction(0)) / candidates


@lru_cache(maxsize=256)
def _mean_of_all(kinds: tuple[tuple[int, int], ...], tilt: Fraction) -> Fraction:
    """E[t**W'] of the whole sum."""
    return math.prod((_tilted(candidates, tilt) ** count for candidates, count in kinds), start=Fraction(1))


@lru_cache(maxsize=4096)
def _chernoff(kinds: tuple[tuple[int, int], ...], seen: int) -> Fraction:
    """P(W' >= seen) <= prod E[t**w]**n / t**seen for every t > 1: the best of a few, rounded up to a power of ten.

    `RankNull` does the same with more values of t where there are many canaries: its p-value is at most this one.
    """
    best = 0
    for tilt in _TILTS:
        mean = _mean_of_all(kinds, tilt)
        up, down = tilt.numerator**seen * mean.denominator, tilt.denominator**seen * mean.numerator
        best = max(best, up.bit_length() - down.bit_length() - 1)
    return Fraction(1, 10 ** (best * 30102 // 100_000))  # log10(2) is 0.30103


def _fewest(enough: Callable[[int], bool], most: int, least: int, near: tuple[int, ...] = ()) -> int:
    """The smallest number from ``least`` to ``most`` that is enough, by bisection; ``most`` + 1 if none is.

    ``enough`` is monotone. The numbers in ``near`` are tried first, because one call is slow for many canaries.
    """
    low, high, guesses = least, most + 1, list(near)
    while low < high:
        at = guesses.pop(0) if guesses else (low + high) // 2
        if not low <= at < high:
            continue
        if enough(at):
            high = at
        else:
            low = at + 1
    return low
