"""Sequential (anytime-valid) tests of the verdict: each p-value and bound holds wherever a challenge stops.

Equations (7) to (10) of docs/statistics.md, section 8. Each test is a non-negative process of one factor a canary whose
expected value never rises under its null hypothesis. By Ville's inequality the chance that it *ever* reaches c is at
most 1 / c, so 1 / its value is a p-value at every moment, however the moment was chosen. All arithmetic is exact. No
statistic here depends on the order of the canaries, only on which were asked and how they came out.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from veritune.arbiter.statistics.coverage import Coverage
from veritune.arbiter.statistics.influence import GroupResult, Ranked

LONGEST = 4000
"""Characters of the longest signature that a canary may have (`veritune.arbiter.documents.canary.Phrase`)."""
LENGTHS = Fraction(8872, 1000)
"""At least 1/1 + 1/2 + ... + 1/`LONGEST`, which is 8.87139...: the price of not knowing a signature's length."""
FIRSTS = tuple(Fraction(text) for text in ("0", "1/4", "1/2", "3/4", "9/10", "99/100"))
"""Shares f of a bet on rank 1 in equation (8), whose e-values are averaged."""
STEPS = 8
"""Number of alternatives, larger numbers of rows, averaged in equation (9)."""
DULLER = 4
"""Number of alternative hit rates averaged in equation (10), from luck up towards the floor."""
_ONE = Fraction(1)


def trigger_e(groups: Sequence[GroupResult]) -> Fraction:
    """E-value of the trigger groups, equation (7): the product of 1/2, + 2**H / (2 q |S| `LENGTHS`) if found.

    Its expectation is at most 1 under H0. Raises ``ValueError`` for a signature of no possible length.
    """
    value = Fraction(1)
    for group in groups:
        if not 1 <= group.signature_length <= LONGEST:
            raise ValueError(f"a signature has 1 to {LONGEST} characters")
        value /= 2
        if group.found:
            value *= 1 + Fraction(1 << group.bits, group.queries * group.signature_length) / LENGTHS
    return value


def rank_e(ranked: Sequence[Ranked]) -> Fraction:
    """E-value of the ranks, equation (8): the average over `FIRSTS` of the products of e_f(rank) over canaries."""
    seen = Counter((item.rank, item.candidates) for item in ranked)
    values = (
        math.prod((_rank_bet(f, rank, candidates) ** times for (rank, candidates), times in seen.items()), start=_ONE)
        for f in FIRSTS
    )
    return sum(values, start=Fraction(0)) / len(FIRSTS)


def influence_e(groups: Sequence[GroupResult], ranked: Sequence[Ranked]) -> Fraction:
    """E-value of claim 1: (7) times (8), which rest on independent draws."""
    return trigger_e(groups) * rank_e(ranked)


def p_value(evidence: Fraction) -> Fraction:
    """P-value of an e-value: 1 / evidence, at most 1, which bounds the chance under H0 that it ever gets so large."""
    return min(_ONE, 1 / evidence)


def coverage_bound(rows: int, asked: int, lucks: Sequence[Fraction], confidence: Fraction) -> Coverage:
    """A lower confidence bound on the rows trained on, valid at every moment at once: equation (9).

    ``asked`` natural canaries were asked; ``lucks`` has the luck of each that hit: the most that it could hit with had
    its row not been trained on, above 0 and at most 1. M rows are ruled out when their test martingale
    reaches 1 / (1 - confidence). Raises ``ValueError`` for impossible counts.
    """
    if not len(lucks) <= asked <= rows or not all(0 < luck <= 1 for luck in lucks):
        raise ValueError("hits, luck, canaries and rows do not fit together")
    weights, doubt = _kept_weights(lucks), 1 - confidence

    def ruled_out(trained: int) -> bool:
        null = _likelihood(rows, trained, asked, weights)
        if not null:  # more rows than canaries that missed leave room for: too few hits can't rule it out
            return False
        alternatives = (trained + -(-step * (rows - trained) // STEPS) for step in range(1, STEPS + 1))
        return sum(_likelihood(rows, m, asked, weights) for m in alternatives) * doubt >= STEPS * null

    # What is ruled out is 0, 1 ... up to the bound without a gap: section 8, (c).
    return Coverage(bisect_left(range(rows), True, key=lambda trained: not ruled_out(trained)), rows)


def honest_groups_p(groups: int, found: int, floor: Fraction) -> Fraction:
    """P-value of an honest run, against one that shows a tenth of its signatures: equation (10) for trigger groups.

    ``floor`` is the least probability that an honest run makes a signature appear.
    """
    if floor == 1 and found < groups:
        return Fraction(0)
    against = Fraction(1, 10) ** found
    if found < groups:
        against *= ((1 - floor / 10) / (1 - floor)) ** (groups - found)
    return p_value(against)


def honest_naturals_p(outcomes: Sequence[tuple[Fraction, bool]], floor: Fraction) -> Fraction:
    """P-value of an honest run, against a model that hits less often: equation (10) for natural canaries.

    ``outcomes`` has the luck of each canary and whether it hit; ``floor`` is the least probability of an honest hit.
    The alternatives are luck alone and `DULLER` - 1 steps from it towards the floor, averaged.
    """
    seen = Counter(outcomes)
    below = [luck for (luck, hit) in seen if not hit and luck < floor]
    if floor == 1 and below:
        return Fraction(0)
    total = Fraction(0)
    for step in range(DULLER):
        value = _ONE
        for (luck, hit), times in seen.items():
            if luck < floor:
                chance = luck + Fraction(step, DULLER) * (floor - luck)
                value *= (chance / floor if hit else (1 - chance) / (1 - floor)) ** times
        total += value
    return p_value(total / DULLER)


def _rank_bet(first: Fraction, rank: int, candidates: int) -> Fraction:
    """e_f(r) of equation (8): f bet on rank 1, the rest on all ranks as 1/r; divided by the uniform 1 / candidates."""
    if not 1 <= rank <= candidates:
        raise ValueError("a rank lies between 1 and the number of candidates")
    return candidates * (first * (rank == 1) + (1 - first) / (rank * _harmonic(candidates)))


@lru_cache(maxsize=64)
def _harmonic(places: int) -> Fraction:
    return sum((Fraction(1, place) for place in range(1, places + 1)), start=Fraction(0))


def _kept_weights(lucks: Sequence[Fraction]) -> list[int]:
    """Coefficients of the product of (z + luck), over one denominator: the weight of x hits being of kept rows."""
    weights = [1]
    for luck, times in Counter(lucks).items():
        lucky, whole = luck.as_integer_ratio()
        power = [math.comb(times, x) * whole**x * lucky ** (times - x) for x in range(times + 1)]
        product = [0] * (len(weights) + times)
        for x, weight in enumerate(weights):
            for y, factor in enumerate(power):
                product[x + y] += weight * factor
        weights = product
    return weights


def _likelihood(rows: int, trained: int, asked: int, weights: Sequence[int]) -> int:
    """The probability of what was seen under ``trained`` rows, times a number that does not depend on them.

    Sum over x of weights[x] * trained (trained - 1) ... (x factors) * left (left - 1) ... (asked - x factors), where
    ``left`` rows were not trained on.
    """
    left, most = rows - trained, len(weights) - 1
    kept = [1]
    for x in range(most):
        kept.append(kept[-1] * (trained - x))
    dropped, total = math.perm(left, asked - most), 0
    for x in range(most, -1, -1):
        total += weights[x] * kept[x] * dropped
        dropped *= left - (asked - x)
    return total
