"""Claim 2, coverage: a lower confidence bound on the share of rows trained on (docs/statistics.md, section 3)."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction

from veritune.arbiter.statistics.exact import hypergeometric_weights


@dataclass(frozen=True)
class Coverage:
    """A lower confidence bound: at least ``rows_least`` of ``rows`` rows were trained on."""

    rows_least: int
    rows: int

    @property
    def share(self) -> Fraction:
        """The bound as a share of all rows."""
        return Fraction(self.rows_least, self.rows)


def coverage_bound(rows: int, asked: int, hits: int, luck: Fraction, confidence: Fraction) -> Coverage:
    """A lower confidence bound on the rows trained on, where ``hits`` of ``asked`` canaries hit: equation (4).

    Had only M of ``rows`` rows been trained on, by somebody who can't tell a canary from any other row, the number
    of canaries among them is hypergeometric; each other canary hits with probability of at most ``luck``. Every M
    for which P(hits or more) <= 1 - confidence is ruled out, and the bound is the first M that is not. Raises
    ``ValueError`` for impossible counts.
    """
    if not 0 <= hits <= asked <= rows:
        raise ValueError("hits, canaries and rows do not fit together")
    if hits == 0:
        return Coverage(0, rows)
    tails = _tails(asked, hits, luck)
    ways, doubt = math.comb(rows, asked), 1 - confidence

    def ruled_out(trained: int) -> bool:
        weights = hypergeometric_weights(rows, trained, asked)
        surprise = sum(weight * tail for weight, tail in zip(weights, tails.numerators, strict=True))
        return surprise * doubt.denominator <= doubt.numerator * ways * tails.denominator

    # P(hits or more) grows with M, by coupling, so bisection finds the first M not ruled out.
    return Coverage(bisect_left(range(rows), True, key=lambda trained: not ruled_out(trained)), rows)


@dataclass(frozen=True)
class _Tails:
    """P(kept + lucky >= hits) for kept = 0..asked, as numerators over one denominator."""

    numerators: list[int]
    denominator: int


def _tails(asked: int, hits: int, luck: Fraction) -> _Tails:
    """`_Tails` by a recurrence: ``asked - kept`` canaries may miss at most ``asked - hits`` times.

    With c misses allowed in j draws, F(c) = 1 and F(j + 1) = F(j) - miss * P(c misses in j draws): the first draw
    that goes beyond c misses does so right after exactly c.
    """
    luck_n, whole = luck.as_integer_ratio()
    miss = whole - luck_n
    allowed = asked - hits
    denominator = whole**asked
    numerators = [denominator] * (asked + 1)
    value = denominator
    for draws in range(allowed, asked):
        exactly = math.comb(draws, allowed) * miss**allowed * luck_n ** (draws - allowed)
        value -= miss * exactly * whole ** (asked - draws - 1)
        numerators[asked - draws - 1] = value
    return _Tails(numerators, denominator)
