"""The verdict's rules turned round: which numbers of groups found and of hits pass, and which fail.

Every hit is taken to have the worst rank that is a hit and every miss the worst of all, and chance gets the largest
luck of all canaries: a run that passes here passes in the verdict. Docs/statistics.md, section 5.
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
"""Assumed upper bound on the length of a signature; the verdict uses the real one."""
_EXACT_UP_TO = 192
"""Natural canaries; of more the verdict has no exact distribution either, unless they have few candidates."""
_TILTS = tuple(Fraction(n, 16) for n in (17, 18, 19, 20, 22, 24))
"""Values of t for Chernoff's inequality, among those that `RankNull` tries."""


@dataclass(frozen=True)
class AskedCounts:
    """How many canaries of each kind one session asks."""

    groups: int
    single: int
    """Drawn natural canaries of one row."""
    repeated: int
    """Drawn natural canaries of several rows."""
    in_place: int

    @property
    def drawn(self) -> int:
        """Natural canaries of a row that was set aside."""
        return self.single + self.repeated

    @property
    def naturals(self) -> int:
        """Of both kinds."""
        return self.drawn + self.in_place


@dataclass(frozen=True)
class Terms:
    """What a verdict follows from, besides how the canaries came out."""

    rules: Rules
    rows: int
    """Of the data set."""
    queries: int
    bits: int
    candidates: int
    wordings: int

    @property
    def lucks(self) -> tuple[Fraction, Fraction]:
        """The most that a drawn canary, and one in place, can hit with, had its row not been trained on."""
        rank = self.rules.policy.hit_rank
        return min(Fraction(1), Fraction(rank, self.candidates)), min(Fraction(1), Fraction(rank, self.wordings))


class Thresholds:
    """What the canaries of one session must show for each rule of the verdict.

    ``rough`` bounds the rank test by Chernoff's inequality only: a larger p-value, at once.
    """

    def __init__(self, terms: Terms, asked: AskedCounts, rough: bool = False) -> None:
        self._terms, self._asked, self._rough = terms, asked, rough or asked.naturals > _EXACT_UP_TO
        self._rules = terms.rules
        self._sequential = terms.rules.policy.stopping == "sequential"

    @cached_property
    def found_at_least(self) -> int:
        """The fewest groups found that an honest run at the floor has too often for a FAIL."""
        groups, rules = self._asked.groups, self._rules
        return _fewest(lambda found: _honest_groups_p(rules, groups, found) > rules.beta, groups, 0)

    @cached_property
    def single_at_least(self) -> int:
        """The fewest hits of canaries of one row that cover as much as is asked; one more than there are where none."""
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
        """The fewest hits of drawn canaries that are no FAIL, beside ``placed`` hits of canaries in place."""
        if self._sequential:
            rules = self._rules
            return _fewest(lambda drawn: self._honest_naturals_p(drawn, placed) > rules.beta, self._asked.drawn, 0)
        return max(0, self._hits_at_least - placed)

    def influencing(self, found: int, placed: int, least: int) -> int:
        """The fewest hits of drawn canaries, from ``least`` on, that show influence beside ``found`` groups."""
        drawn, alpha = self._asked.drawn, self._rules.alpha
        if least > drawn or self._quick_p(found, least, placed) <= alpha:
            return least
        if self._rough:
            return _fewest(lambda hits: self._quick_p(found, hits, placed) <= alpha, drawn, least)
        return _fewest(lambda hits: self.p_value(found, hits, placed) <= alpha, drawn, least)

    def p_value(self, found: int, drawn: int, placed: int) -> Fraction:
        """Influence, equation (1) to (3), or (7) and (8)."""
        if self._sequential:
            return self._sequential_p(found, drawn, placed)
        return self._both(found, _null_tail(self._kinds, self._weight(drawn, placed)))

    @cached_property
    def _hits_at_least(self) -> int:
        """Under ``fixed``, of all natural canaries."""
        naturals, rules = self._asked.naturals, self._rules
        return _fewest_honest(naturals, rules.natural_floor, rules.beta)

    @cached_property
    def _kinds(self) -> tuple[tuple[int, int], ...]:
        """How many natural canaries have each number of candidates."""
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
        """As `influence_p` puts them together."""
        if not self._asked.groups:
            return ranks
        triggers = trigger_p(self._groups(found))
        return _combined(triggers, ranks) if self._asked.naturals else triggers

    def _quick_p(self, found: int, drawn: int, placed: int) -> Fraction:
        """At least `p_value`: what is small enough here needs no exact distribution."""
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
"""Of each kind of natural canary the number of candidates, the hits and how many were asked."""


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
    """The fewest from ``least`` on that are enough; ``most`` + 1 where none are. ``enough`` is monotone.

    The numbers in ``near`` are looked at first: one look costs much where there are many canaries.
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
