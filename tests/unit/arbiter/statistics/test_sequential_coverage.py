"""Equation (9): what a sequential challenge shows of the rows, by exact enumeration and against brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.coverage import Coverage
from veritune.arbiter.statistics.sequential import STEPS, coverage_bound

ONE = Fraction(1)


def law(rows: int, trained: int, asked: int, lucks: Sequence[Fraction], misses: Sequence[Fraction]) -> Fraction:
    """P(just these canaries hit and these miss) where kept ones hit always, subset by subset of those that hit."""
    total = Fraction(0)
    for kept in range(len(lucks) + 1):
        if kept > trained or asked - kept > rows - trained:
            continue
        places = Fraction(math.comb(rows - asked, trained - kept), math.comb(rows, trained))
        for lucky in itertools.combinations(lucks, len(lucks) - kept):
            total += places * math.prod(lucky, start=ONE)
    return total * math.prod((1 - luck for luck in misses), start=ONE)


def value(rows: int, null: int, asked: int, lucks: Sequence[Fraction], misses: Sequence[Fraction]) -> Fraction | None:
    """L of equation (9); None where the null can't give what was seen."""
    below = law(rows, null, asked, lucks, misses)
    above = [null + math.ceil(Fraction(step * (rows - null), STEPS)) for step in range(1, STEPS + 1)]
    total = sum((law(rows, m, asked, lucks, misses) for m in above), start=Fraction(0))
    return total / STEPS / below if below else None


LUCKS = st.sampled_from([Fraction(1, 16), Fraction(1, 4), Fraction(1, 3), Fraction(1, 2)])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 14), st.data())
def test_the_bound_is_the_first_number_of_rows_not_ruled_out(rows: int, data: st.DataObject) -> None:
    """And all below it are ruled out, which is what lets a bisection find it."""
    asked = data.draw(st.integers(0, min(rows, 8)))
    lucks = data.draw(st.lists(LUCKS, max_size=asked))
    misses = data.draw(st.lists(LUCKS, min_size=asked - len(lucks), max_size=asked - len(lucks)))
    confidence = data.draw(st.sampled_from([Fraction(1, 2), Fraction(9, 10), Fraction(99, 100)]))
    values = [value(rows, null, asked, lucks, misses) for null in range(rows + 1)]
    out = [found is not None and found >= 1 / (1 - confidence) for found in values]
    assert out == sorted(out, reverse=True)
    assert coverage_bound(rows, asked, lucks, confidence) == Coverage(sum(out), rows)


@settings(deadline=None, max_examples=40)
@given(st.integers(20, 3000), st.data())
def test_what_is_ruled_out_has_no_gap_in_larger_data_sets(rows: int, data: st.DataObject) -> None:
    """The same by a walk over every number of rows, with the likelihoods of the code."""
    asked = data.draw(st.integers(1, min(rows, 60)))
    hits = data.draw(st.integers(0, asked))
    lucks = [Fraction(1, 12)] * (hits // 2) + [Fraction(1, 3)] * (hits - hits // 2)
    weights = sequential._kept_weights(lucks)
    likelihood = [sequential._likelihood(rows, trained, asked, weights) for trained in range(rows + 1)]
    out = []
    for null in range(rows + 1):
        above = sum(likelihood[null - (-step * (rows - null) // STEPS)] for step in range(1, STEPS + 1))
        out.append(bool(likelihood[null]) and above >= 20 * STEPS * likelihood[null])
    assert out == sorted(out, reverse=True)
    assert coverage_bound(rows, asked, lucks, Fraction(19, 20)).rows_least == sum(out)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9), LUCKS, st.data())
def test_one_more_hit_in_place_of_a_miss_never_lowers_the_evidence(
    rows: int, luck: Fraction, data: st.DataObject
) -> None:
    others = data.draw(st.integers(0, min(rows - 1, 6)))
    lucks = data.draw(st.lists(LUCKS, max_size=others))
    misses = data.draw(st.lists(LUCKS, min_size=others - len(lucks), max_size=others - len(lucks)))
    for null in range(rows + 1):
        fewer = value(rows, null, others + 1, lucks, [*misses, luck])
        more = value(rows, null, others + 1, [*lucks, luck], misses)
        assert (fewer or 0) <= (more or 0)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 8), st.data())
def test_the_mean_after_one_more_canary_is_the_value_before(rows: int, data: st.DataObject) -> None:
    null = data.draw(st.integers(0, rows))
    asked = data.draw(st.integers(0, rows - 1))
    lucks = data.draw(st.lists(LUCKS, max_size=asked))
    misses = data.draw(st.lists(LUCKS, min_size=asked - len(lucks), max_size=asked - len(lucks)))
    luck, before = data.draw(LUCKS), value(rows, null, asked, lucks, misses)
    if before is None:
        return
    now, mean = law(rows, null, asked, lucks, misses), Fraction(0)
    for more_lucks, more_misses in (([*lucks, luck], misses), (lucks, [*misses, luck])):
        after = value(rows, null, asked + 1, more_lucks, more_misses)
        if after is not None:
            mean += law(rows, null, asked + 1, more_lucks, more_misses) / now * after
    assert mean <= before
    if asked + 1 - len(lucks) <= rows - null:  # one more miss is possible under the null, so nothing drops out
        assert mean == before


@pytest.mark.parametrize("confidence", [Fraction(1, 2), Fraction(3, 4), Fraction(19, 20)])
@pytest.mark.parametrize("learnt", [ONE, Fraction(4, 5)])
@pytest.mark.parametrize("unlucky", [ONE, Fraction(1, 2)])
def test_no_stopping_rule_pushes_the_bound_beyond_the_truth(
    confidence: Fraction, learnt: Fraction, unlucky: Fraction
) -> None:
    """Exact, for every number of trained rows: the chance that the bound ever passes it while canaries are drawn.

    Kept canaries hit with probability ``learnt``, others with ``unlucky`` times the luck that is assumed; every other
    canary has other candidates.
    """
    rows, lucks = 11, (Fraction(1, 4), Fraction(1, 2))
    bounds: dict[tuple[int, int, int], int] = {}

    def bound(asked: int, first: int, second: int) -> int:
        key = asked, first, second
        if key not in bounds:
            seen = [lucks[0]] * first + [lucks[1]] * second
            bounds[key] = coverage_bound(rows, asked, seen, confidence).rows_least
        return bounds[key]

    worst = Fraction(0)
    for trained in range(rows + 1):

        @cache
        def wrong(asked: int, kept: int, first: int, second: int, trained: int = trained) -> Fraction:
            if bound(asked, first, second) > trained:
                return ONE
            if asked == rows:
                return Fraction(0)
            keep, luck = Fraction(trained - kept, rows - asked), lucks[asked % 2] * unlucky
            hit = (first + 1, second) if asked % 2 == 0 else (first, second + 1)
            total = Fraction(0)
            for now, chance, hits in ((1, keep, learnt), (0, 1 - keep, luck)):
                if chance:
                    total += chance * hits * wrong(asked + 1, kept + now, *hit)
                    total += chance * (1 - hits) * wrong(asked + 1, kept + now, first, second)
            return total

        worst = max(worst, wrong(0, 0, 0, 0))
    assert worst <= 1 - confidence
    assert worst > 0 or unlucky < 1 or confidence > Fraction(3, 4)


def test_equal_luck_gives_the_point_probabilities_of_equation_4() -> None:
    """The likelihood is, up to a factor that does not depend on M, P(exactly h hits of n | M)."""
    rows, asked, hits, luck = 30, 9, 6, Fraction(1, 5)
    weights = sequential._kept_weights([luck] * hits)
    ratios = set()
    for trained in range(rows - (asked - hits) + 1):
        exactly = sum(
            Fraction(math.comb(trained, x) * math.comb(rows - trained, asked - x), math.comb(rows, asked))
            * math.comb(asked - x, hits - x)
            * luck ** (hits - x)
            * (1 - luck) ** (asked - hits)
            for x in range(hits + 1)
        )
        ratios.add(sequential._likelihood(rows, trained, asked, weights) / exactly)
    assert len(ratios) == 1


def test_nothing_asked_and_luck_alone_show_nothing() -> None:
    assert coverage_bound(500, 0, [], Fraction(99, 100)).rows_least == 0
    assert coverage_bound(500, 32, [Fraction(1, 16)] * 4, Fraction(99, 100)).rows_least == 0
    assert coverage_bound(500, 32, [ONE] * 32, Fraction(99, 100)).rows_least == 0


def test_every_row_asked_and_hit_shows_nearly_all() -> None:
    assert coverage_bound(40, 40, [Fraction(1, 16)] * 40, Fraction(99, 100)).rows_least >= 38


@pytest.mark.parametrize(
    ("rows", "asked", "lucks"),
    [(3, 4, []), (4, 1, [Fraction(1, 2)] * 2), (4, 2, [Fraction(0)]), (4, 2, [Fraction(3, 2)])],
)
def test_numbers_that_do_not_fit_are_refused(rows: int, asked: int, lucks: list[Fraction]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        coverage_bound(rows, asked, lucks, Fraction(9, 10))
