"""How likely a session passes or fails, by exact binomial tails (docs/statistics.md, section 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from veritune.arbiter.statistics.exact import hypergeometric_weights
from veritune.client.planning.thresholds import AskedCounts, Terms, Thresholds

_NEGLIGIBLE = 64
"""Outcomes less likely than 2**-64 are left out of a sum that is a lower bound."""
_KEPT = 1 << 192
"""Probabilities of several sessions' shares are rounded down to multiples of 1 / `_KEPT` before they are added."""


@dataclass(frozen=True)
class Chances:
    """The probabilities with which canaries of each kind succeed; they succeed independently."""

    found: Fraction
    """Probability that a trigger group's signature appears at one of its queries at least."""
    drawn: Fraction
    """Probability that a drawn natural canary ranks within the policy's ``hit_rank``."""
    placed: Fraction
    """Probability that a canary in place ranks within ``hit_rank``."""


@dataclass(frozen=True)
class Outcome:
    """Lower bounds on the probabilities of PASS and FAIL in one mode, if every canary of a session is asked."""

    passes: Fraction
    fails: Fraction


class Odds:
    """Computes the probabilities of the verdicts in one session of a contract."""

    def __init__(self, terms: Terms, parts: Sequence[Sequence[tuple[Fraction, AskedCounts]]]) -> None:
        """``parts`` has one list for each size of session: (probability, counts of canaries that a session may get)."""
        self._terms, self._parts = terms, parts
        self._rough = terms.rules.policy.sessions > 1
        self._bars: dict[AskedCounts, Thresholds] = {}

    @classmethod
    def divided(cls, terms: Terms, canaries: AskedCounts, leaves: int, dropped: Fraction) -> Odds:
        """Odds of a session that gets its share of ``leaves`` in random order, equation (12).

        The number of canaries of each kind is then hypergeometric. Numbers in either tail of a kind with a probability
        of at most ``dropped`` are left out; they count as neither PASS nor FAIL.
        """
        sessions = terms.rules.policy.sessions
        each = -(-leaves // sessions)
        # All sessions but the last get the same number of leaves.
        sizes = {each, max(0, leaves - (sessions - 1) * each)}
        return cls(terms, [list(_shares(canaries, leaves, size, dropped)) for size in sorted(sizes)])

    @classmethod
    def even(cls, terms: Terms, canaries: AskedCounts) -> Odds:
        """Odds as if every session got the same number of each kind: a quick first guess that bounds nothing."""
        return cls(terms, [[(Fraction(1), share_of(canaries, terms.rules.policy.sessions))]])

    def outcome(self, chances: Chances) -> Outcome:
        """Bounds on PASS and FAIL for these ``chances``, equation (11).

        If sessions have two sizes, each bound is that of the worse size.
        """
        sessions = [[(weight, self._of(asked, chances)) for weight, asked in part] for part in self._parts]
        return Outcome(
            min(_mean((weight, one.passes) for weight, one in part) for part in sessions),
            min(_mean((weight, one.fails) for weight, one in part) for part in sessions),
        )

    def _of(self, asked: AskedCounts, chances: Chances) -> Outcome:
        bars = self._bars.get(asked)
        if bars is None:
            bars = self._bars[asked] = Thresholds(self._terms, asked, self._rough)
        return _outcome(bars, asked, chances)


def share_of(canaries: AskedCounts, sessions: int) -> AskedCounts:
    """The number of canaries of each kind that one of several sessions gets on average, rounded down."""
    return AskedCounts(
        canaries.groups // sessions,
        canaries.single // sessions,
        canaries.repeated // sessions,
        canaries.in_place // sessions,
    )


def _outcome(bars: Thresholds, asked: AskedCounts, chances: Chances) -> Outcome:
    """Equation (11): a sum over groups found and hits in place, with one tail of the drawn canaries' hits for each."""
    groups = binomial(asked.groups, chances.found)
    single = binomial(asked.single, chances.drawn)
    repeated = binomial(asked.repeated, chances.drawn)
    placed = binomial(asked.in_place, chances.placed)
    if not asked.groups and not asked.naturals:
        return Outcome(Fraction(0), Fraction(0))
    passes = failing = 0
    for on_place, ways in enumerate(placed.ways):
        if ways << _NEGLIGIBLE < placed.whole:
            continue
        no_fail = bars.drawn_at_least(on_place)
        failing += ways * (single.whole * repeated.whole - _both(single, repeated, 0, no_fail))
        for found in range(bars.found_at_least, asked.groups + 1):
            if groups.ways[found]:
                needed = bars.influencing(found, on_place, no_fail)
                tail = _both(single, repeated, bars.single_at_least - on_place, needed)
                passes += groups.ways[found] * ways * tail
    naturals = single.whole * repeated.whole * placed.whole
    fails_by_groups = 1 - Fraction(groups.at_least(bars.found_at_least), groups.whole)
    return Outcome(
        Fraction(passes, groups.whole * naturals),
        fails_by_groups + (1 - fails_by_groups) * Fraction(failing, naturals),
    )


class Binomial:
    """A binomial distribution in exact integers: P(X = x) is ``ways[x] / whole``."""

    def __init__(self, trials: int, probability: Fraction) -> None:
        yes, whole = probability.as_integer_ratio()
        hits, misses = _powers(yes, trials), _powers(whole - yes, trials)
        self.ways = [math.comb(trials, x) * hits[x] * misses[trials - x] for x in range(trials + 1)]
        self.whole = whole**trials
        self._tails = [0] * (trials + 2)
        for x in range(trials, -1, -1):
            self._tails[x] = self._tails[x + 1] + self.ways[x]

    def at_least(self, least: int) -> int:
        """The integer P(X >= least) times ``whole``; ``least`` may be any integer."""
        return self._tails[min(max(least, 0), len(self.ways))]


@lru_cache(maxsize=512)
def binomial(trials: int, probability: Fraction) -> Binomial:
    """A `Binomial`, cached because the same sessions come up again and again."""
    return Binomial(trials, probability)


def _both(first: Binomial, second: Binomial, of_first: int, together: int) -> int:
    """The integer P(X >= of_first and X + Y >= together) times both distributions' ``whole``."""
    if len(second.ways) == 1:
        return first.at_least(max(of_first, together))
    ways = range(max(0, of_first), len(first.ways))
    return sum(first.ways[x] * second.at_least(together - x) for x in ways)


def _powers(base: int, most: int) -> list[int]:
    powers = [1]
    for _ in range(most):
        powers.append(powers[-1] * base)
    return powers


def _shares(canaries: AskedCounts, leaves: int, size: int, dropped: Fraction) -> Iterator[tuple[Fraction, AskedCounts]]:
    """The counts of canaries that a session of ``size`` leaves may get, each with its probability, equation (12)."""
    if size == leaves:
        yield Fraction(1), canaries
        return
    kinds = (canaries.groups, canaries.single, canaries.repeated, canaries.in_place)
    usual = [_usual(kind, leaves, size, dropped) for kind in kinds]
    padding, all_ways = leaves - sum(kinds), math.comb(leaves, size)
    for groups in usual[0]:
        for single in usual[1]:
            for repeated in usual[2]:
                for in_place in usual[3]:
                    asked = AskedCounts(groups, single, repeated, in_place)
                    rest = size - groups - asked.naturals
                    if 0 <= rest <= padding:
                        counts = zip(kinds, (groups, single, repeated, in_place), strict=True)
                        ways = math.prod(math.comb(kind, count) for kind, count in counts)
                        yield Fraction(ways * math.comb(padding, rest), all_ways), asked


def _usual(kind: int, leaves: int, size: int, dropped: Fraction) -> range:
    """The numbers of one kind that a session may get, without tails of a probability of at most ``dropped``."""
    weights = hypergeometric_weights(leaves, kind, size)[: kind + 1]
    most = math.comb(leaves, size) * dropped
    low, high, below, above = 0, len(weights) - 1, weights[0], weights[-1]
    while below <= most and low < high:
        low += 1
        below += weights[low]
    while above <= most and high > low:
        high -= 1
        above += weights[high]
    return range(low, high + 1)


def _mean(parts: Iterable[tuple[Fraction, Fraction]]) -> Fraction:
    """A weighted sum; of several parts it is rounded down."""
    products = [weight * value for weight, value in parts]
    if len(products) == 1:
        return products[0]
    return Fraction(sum(product.numerator * _KEPT // product.denominator for product in products), _KEPT)
