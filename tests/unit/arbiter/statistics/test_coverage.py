"""Equation (4): the coverage bound against brute force, scipy and simulation."""

from __future__ import annotations

import math
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from veritune.arbiter.statistics.coverage import Coverage, coverage_bound

LUCK, CONFIDENCE = Fraction(1, 16), Fraction(99, 100)


def hits_at_least(rows: int, trained: int, asked: int, hits: int, luck: Fraction) -> Fraction:
    """P(hits or more) of equation (4), summed over kept and lucky canaries one by one."""
    total = Fraction(0)
    for kept in range(max(0, asked - (rows - trained)), min(asked, trained) + 1):
        ways = math.comb(trained, kept) * math.comb(rows - trained, asked - kept)
        lucky = sum(
            math.comb(asked - kept, n) * luck**n * (1 - luck) ** (asked - kept - n)
            for n in range(max(0, hits - kept), asked - kept + 1)
        )
        total += Fraction(ways, math.comb(rows, asked)) * lucky
    return total


def test_the_tail_by_hand_agrees_with_scipy() -> None:
    luck = 1 / 16
    for rows, trained, asked, hits in [(40, 30, 12, 9), (25, 3, 20, 4), (9, 9, 4, 2), (9, 0, 4, 1)]:
        expected = sum(
            stats.hypergeom.pmf(kept, rows, trained, asked) * stats.binom.sf(hits - kept - 1, asked - kept, luck)
            for kept in range(asked + 1)
        )
        assert float(hits_at_least(rows, trained, asked, hits, LUCK)) == pytest.approx(expected, rel=1e-8, abs=1e-14)


@settings(deadline=None)
@given(st.integers(1, 24), st.fractions(0, 1, max_denominator=16), st.data())
def test_the_bound_is_the_first_number_of_rows_not_ruled_out(rows: int, luck: Fraction, data: st.DataObject) -> None:
    asked = data.draw(st.integers(0, rows))
    hits = data.draw(st.integers(0, asked))
    tails = [hits_at_least(rows, trained, asked, hits, luck) for trained in range(rows + 1)]
    assert tails == sorted(tails)
    expected = next(trained for trained, tail in enumerate(tails) if tail > 1 - CONFIDENCE)
    assert coverage_bound(rows, asked, hits, luck, CONFIDENCE) == Coverage(expected, rows)


def test_the_bound_holds_as_often_as_it_says() -> None:
    """A provider trains on 60 of 100 rows: the bound goes beyond 60 in at most 1 run of 20."""
    draw, runs, beyond = random.Random(5), 2000, 0
    cache: dict[int, Fraction] = {}
    for _ in range(runs):
        kept = sum(row < 60 for row in draw.sample(range(100), 20))
        hits = kept + sum(draw.random() < 1 / 16 for _ in range(20 - kept))
        if hits not in cache:
            cache[hits] = coverage_bound(100, 20, hits, LUCK, Fraction(19, 20)).share
        beyond += cache[hits] > Fraction(60, 100)
    assert 0.005 < beyond / runs <= 0.05 + 4 * (0.05 * 0.95 / runs) ** 0.5


PROVIDERS = 10_000
ALLOWED = int(stats.binom.isf(5e-8, PROVIDERS, 0.01))
"""How many of `PROVIDERS` bounds at confidence 99 % may pass the truth: 157.

A right bound passes it with a probability of at most 1 %, so that one setting has more than these with a probability
of at most 5e-8, and any of the fifteen below with less than 1e-6.
"""


def simulated_hits(rows: int, trained: int, asked: int, luck: Fraction, seed: int) -> Counter[int]:
    """Hits of `PROVIDERS` providers, the worst case for a lower bound: a canary of a row trained on always hits."""
    draw = np.random.default_rng([seed, rows, trained, asked])
    kept = draw.hypergeometric(trained, rows - trained, asked, PROVIDERS)
    return Counter((kept + draw.binomial(asked - kept, float(luck))).tolist())


def too_large(rows: int, asked: int, luck: Fraction, truth: Fraction, assumed: Fraction) -> int:
    """How many providers get a bound above the share that they trained on, when it is taken for ``assumed`` luck."""
    seen = simulated_hits(rows, int(rows * truth), asked, luck, seed=11)
    return sum(
        times for hits, times in seen.items() if coverage_bound(rows, asked, hits, assumed, CONFIDENCE).share > truth
    )


@pytest.mark.parametrize(("asked", "candidates"), [(24, 12), (64, 12), (256, 32)])
@pytest.mark.parametrize("share", ["0.1", "0.3", "0.5", "0.8", "1.0"])
def test_ten_thousand_providers_are_seldom_said_to_have_done_more(asked: int, candidates: int, share: str) -> None:
    luck = Fraction(1, candidates)
    assert too_large(2000, asked, luck, Fraction(share), assumed=luck) <= ALLOWED


@pytest.mark.parametrize("share", ["0.1", "0.3", "0.5"])
def test_the_simulation_catches_a_bound_that_forgets_luck(share: str) -> None:
    """Where nearly all rows were trained on, luck matters too little for that."""
    assert too_large(2000, 64, Fraction(1, 12), Fraction(share), assumed=Fraction(0)) > ALLOWED


def test_no_hits_show_nothing_and_luck_alone_shows_nothing() -> None:
    assert coverage_bound(500, 32, 0, LUCK, CONFIDENCE).rows_least == 0
    assert coverage_bound(500, 32, 4, LUCK, CONFIDENCE).rows_least == 0
    assert coverage_bound(500, 32, 32, Fraction(1), CONFIDENCE).rows_least == 0
    assert coverage_bound(500, 0, 0, LUCK, CONFIDENCE).share == 0


def test_every_row_asked_and_hit_without_luck_shows_all() -> None:
    assert coverage_bound(30, 30, 30, Fraction(0), CONFIDENCE).share == 1


@pytest.mark.parametrize(("rows", "asked", "hits"), [(3, 4, 1), (4, 3, 4), (4, 3, -1)])
def test_numbers_that_do_not_fit_are_refused(rows: int, asked: int, hits: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        coverage_bound(rows, asked, hits, LUCK, CONFIDENCE)
