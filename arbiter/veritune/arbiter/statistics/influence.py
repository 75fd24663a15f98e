"""Claim 1, influence: p-values of the answers under H0, that the model has not learnt the client's secrets.

Equations (1) to (3) of docs/statistics.md. The secrets are the client's own random draws, so the bounds hold
whatever the model is and whoever made it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction

from veritune.arbiter.statistics.exact import CONTEXT, minus_ln_upper, poisson_binomial_at_least

WEIGHT_SCALE = 8
"""The unit of a rank's weight is 1/8 bit: the weight is floor(8 * log2(candidates / rank))."""
EXACT_BITS = 1 << 22
"""Largest integer, in bits, by which the null distribution of the rank sum is computed exactly."""


@dataclass(frozen=True)
class GroupResult:
    """The result of one trigger group on held-out prompts."""

    queries: int
    """Number of held-out prompts that were answered."""
    bits: int
    """No signature that could have been drawn has probability above 2**-bits: proved if the generator is certified."""
    signature_length: int
    """Length of the signature in characters."""
    found: bool
    """True if an answer to a held-out prompt began with the signature."""


@dataclass(frozen=True)
class Ranked:
    """The rank of one natural canary's true answer among its candidates; 1 is best."""

    rank: int
    candidates: int
    copies: int = 1
    """Number of rows of the data set that carried the canary."""


def trigger_p(groups: Sequence[GroupResult]) -> Fraction:
    """P-value of the k of m groups found: equation (1), min(1, m * P(PoissonBinomial(p_1..p_m) >= k)).

    p_j = min(1, q_j * u * 2**-H_j), where u is the longest signature in characters. The factor m pays for u having
    been read off the signatures that were drawn.
    """
    found = sum(group.found for group in groups)
    if not found:
        return Fraction(1)
    longest = max(group.signature_length for group in groups)
    bounds = [min(Fraction(1), Fraction(group.queries * longest, 1 << group.bits)) for group in groups]
    return min(Fraction(1), len(groups) * poisson_binomial_at_least(bounds, found))


def rank_of(truth: int, tuned: Sequence[str], base: Sequence[str], weight: Fraction) -> int:
    """Rank of candidate ``truth`` by tuned - weight * base log-probability, 1 the best; ties count as better.

    Log-probabilities are texts with six places, compared exactly. Raises ``ValueError`` for lists of unequal length and
    ``IndexError`` for a truth beyond them.
    """
    times, off = weight.denominator, weight.numerator
    scores = [times * int(t.replace(".", "")) - off * int(b.replace(".", "")) for t, b in zip(tuned, base, strict=True)]
    return sum(score >= scores[truth] for score in scores)


def rank_weight(rank: int, candidates: int) -> int:
    """Weight of a rank in eighths of a bit: the largest w with 2**w * rank**8 <= candidates**8."""
    if not 1 <= rank <= candidates:
        raise ValueError("a rank lies between 1 and the number of candidates")
    return int((candidates**WEIGHT_SCALE // rank**WEIGHT_SCALE).bit_length()) - 1


def rank_sum(ranked: Sequence[Ranked]) -> int:
    """Sum of the ranks' weights, the statistic W of equation (2)."""
    return sum(rank_weight(item.rank, item.candidates) for item in ranked)


def rank_p(ranked: Sequence[Ranked]) -> Fraction:
    """P-value of the ranks: equation (2), P(W >= the sum seen) if all ranks are uniform and independent."""
    return RankNull(Counter(item.candidates for item in ranked)).at_least(rank_sum(ranked))


class RankNull:
    """The distribution of the rank sum under H0; ``canaries`` maps a number of candidates to how many canaries have it.

    Exact while it fits `EXACT_BITS`, beyond that an upper bound of its tail by Chernoff's inequality.
    """

    def __init__(self, canaries: Mapping[int, int]) -> None:
        self._canaries = dict(canaries)
        self._outcomes = math.prod(candidates**count for candidates, count in canaries.items())
        self._digit = self._outcomes.bit_length() + 1
        largest = sum(rank_weight(1, candidates) * count for candidates, count in canaries.items())
        self._distribution = self._exact() if self._digit * (largest + 1) <= EXACT_BITS else None

    def at_least(self, seen: int) -> Fraction:
        """P(rank sum >= seen) under H0, or an upper bound on it."""
        if seen <= 0:
            return Fraction(1)
        if self._distribution is None:
            return _chernoff(self._canaries, seen)
        # The digits above stand in base 2**digit, so their sum is the remainder modulo 2**digit - 1.
        ways = (self._distribution >> self._digit * seen) % ((1 << self._digit) - 1)
        return Fraction(ways, self._outcomes)

    def _exact(self) -> int:
        """Kronecker substitution: the polynomial sum over r of x**w(r), taken at x = 2**digit, is one integer.

        Its powers are the distribution of a sum, one digit a value. No digit overflows: together they are ``outcomes``.
        """
        distribution = 1
        for candidates, count in self._canaries.items():
            ranks = range(1, candidates + 1)
            distribution *= sum(1 << self._digit * rank_weight(rank, candidates) for rank in ranks) ** count
        return distribution


def combine(first: Fraction, second: Fraction) -> Fraction:
    """One p-value from two independent ones: equation (3), P(first * second <= x) <= x * (1 - ln x)."""
    product = first * second
    if product in (0, 1):
        return product
    return min(Fraction(1), product * (1 + minus_ln_upper(product)))


def influence_p(groups: Sequence[GroupResult], ranked: Sequence[Ranked]) -> Fraction:
    """P-value of claim 1, from both tests or from the only one that was made; 1 if none was.

    Signatures and truths are drawn by the client from separate streams, so that under H0, given any model at all,
    the two p-values are functions of independent draws.
    """
    if groups and ranked:
        return combine(trigger_p(groups), rank_p(ranked))
    if ranked:
        return rank_p(ranked)
    return trigger_p(groups)


def _chernoff(canaries: Mapping[int, int], seen: int) -> Fraction:
    """P(sum >= seen) <= prod E[t**w]**n / t**seen for every t > 1; the best of a fixed grid, rounded up to 10**-k."""
    with localcontext(CONTEXT):
        best = Decimal(0)
        for step in range(1, 65):
            t = 1 + Decimal(step) / 64
            exponent = -seen * t.log10()
            for candidates, count in canaries.items():
                weights = Counter(rank_weight(rank, candidates) for rank in range(1, candidates + 1))
                mean = sum(n * t**w for w, n in weights.items()) / Decimal(candidates)
                exponent += count * mean.log10()
            best = min(best, exponent)
        # Sixty digits leave an error far below one; rounding the exponent up by a whole decade and a hair covers it.
        return Fraction(1, 10 ** max(0, int(-best - Decimal("1e-20"))))
