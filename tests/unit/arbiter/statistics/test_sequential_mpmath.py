"""Sequential stopping, equations (7) to (10) of docs/statistics.md, against mpmath: twelve digits down to 1e-10000."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath
import pytest
from mpmath import mpf

from tests.support.mpmath_oracle import CLOSE, assert_close, fraction, log_binomial, real
from tests.support.mpmath_oracle import sixty_digits as sixty_digits  # a fixture
from veritune.arbiter.statistics import sequential
from veritune.arbiter.statistics.exact import log10
from veritune.arbiter.statistics.influence import GroupResult, Ranked


def test_the_price_of_an_unknown_length_covers_the_harmonic_number() -> None:
    harmonic = mpmath.harmonic(sequential.LONGEST)
    assert harmonic <= real(sequential.LENGTHS) < harmonic + mpf("0.001")


@pytest.mark.parametrize("bits", [8, 64, 512])
@pytest.mark.parametrize("found", [0, 1, 40, 64])
def test_evidence_of_trigger_groups(bits: int, found: int) -> None:
    groups = [GroupResult(2 + number % 2, bits, 100 + number, number < found) for number in range(64)]
    logarithm = -64 * mpmath.log(2)
    for number in range(found):
        logarithm += mpmath.log1p(mpf(2) ** bits / ((2 + number % 2) * (100 + number) * mpf("8.872")))
    value = sequential.trigger_e(groups)
    assert_close(value, mpmath.exp(logarithm))
    assert_close(sequential.p_value(value), min(mpf(1), mpmath.exp(-logarithm)))
    if bits == 512 and found == 64:
        assert log10(sequential.p_value(value)) < -9600


@pytest.mark.parametrize(
    "ranks",
    [
        {(1, 12): 24},
        {(1, 12): 20, (2, 12): 2, (7, 12): 2},
        {(1, 16): 9, (3, 16): 15, (16, 16): 24, (2, 12): 7},
        {(12, 12): 300},
        {(1, 256): 400},
        {(1, 4): 16600, (3, 4): 100},
        {(1, 4): 16800},
    ],
)
def test_evidence_of_ranks(ranks: dict[tuple[int, int], int]) -> None:
    bets = []
    for first in ("0", "0.25", "0.5", "0.75", "0.9", "0.99"):
        f, logarithm = mpf(first), mpf(0)
        for (rank, candidates), times in ranks.items():
            share = (1 - f) / (rank * mpmath.harmonic(candidates)) + (f if rank == 1 else 0)
            logarithm += times * (mpmath.log(candidates) + mpmath.log(share))
        bets.append(mpmath.exp(logarithm))
    true = mpmath.fsum(bets) / 6
    value = sequential.rank_e([Ranked(rank, n) for (rank, n), times in ranks.items() for _ in range(times)])
    assert_close(value, true)
    assert_close(sequential.p_value(value), min(mpf(1), 1 / true))


def pieces(rows: int, asked: int, lucks: Sequence[tuple[Fraction, int]], trained: int) -> Any:
    """q(M) of (9) without its constant: over kept canaries of two kinds of luck, by binomials."""
    (luck, times), (other, more) = lucks
    first = [mpmath.binomial(times, x) * real(luck) ** (times - x) for x in range(times + 1)]
    second = [mpmath.binomial(more, y) * real(other) ** (more - y) for y in range(more + 1)]
    total = mpf(0)
    for kept in range(max(0, trained - (rows - asked)), min(times + more, trained) + 1):
        ways = mpmath.fsum(first[x] * second[kept - x] for x in range(max(0, kept - more), min(times, kept) + 1))
        total += ways * mpmath.exp(log_binomial(rows - asked, trained - kept) - log_binomial(rows, trained))
    return total


@pytest.mark.parametrize(
    ("rows", "trained", "asked", "lucks"),
    [
        (295, 100, 24, [("1/12", 20), ("1/16", 0)]),
        (295, 150, 72, [("1/12", 20), ("1/16", 35)]),
        (2000, 0, 64, [("1/12", 64), ("1/16", 0)]),
        (2000, 1400, 64, [("1/12", 30), ("3/16", 30)]),
        (10_000, 0, 400, [("1/256", 400), ("1/2", 0)]),
        (10_000, 9000, 200, [("1/256", 198), ("1/2", 2)]),
    ],
)
def test_rows_are_ruled_out_on_the_right_side_of_the_likelihood_ratio(
    rows: int, trained: int, asked: int, lucks: list[tuple[str, int]]
) -> None:
    kinds = [(Fraction(luck), times) for luck, times in lucks]
    steps = [trained + math.ceil(Fraction(step * (rows - trained), 8)) for step in range(1, 9)]
    above = mpmath.fsum(pieces(rows, asked, kinds, rows_then) for rows_then in steps)
    ratio = above / (8 * pieces(rows, asked, kinds, trained))
    hits = [luck for luck, times in kinds for _ in range(times)]
    for sign in (1, -1):
        confidence = 1 - (1 + sign * CLOSE) / fraction(ratio)
        bound = sequential.coverage_bound(rows, asked, hits, confidence)
        assert (bound.rows_least > trained) == (sign == 1)


@pytest.mark.parametrize(
    ("floor", "missed", "hit"), [("0.7", 3, 1), ("0.7", 40, 88), ("0.9", 2, 0), ("0.999", 64, 0), ("0.999", 3400, 10)]
)
def test_an_honest_run_that_shows_few_groups(floor: str, missed: int, hit: int) -> None:
    b = mpf(floor)
    against = missed * (mpmath.log(10 - b) - mpmath.log(10 * (1 - b))) - hit * mpmath.log(10)
    value = sequential.honest_groups_p(missed + hit, hit, Fraction(floor))
    assert_close(value, min(mpf(1), mpmath.exp(-against)))
    assert missed < 3400 or log10(value) < -9900


@pytest.mark.parametrize(
    ("floor", "seen"),
    [
        ("0.7", {("1/12", False): 2, ("1/12", True): 1}),
        ("0.7", {("1/12", False): 64, ("1/12", True): 64}),
        ("0.9", {("1/12", False): 20, ("1/16", False): 30, ("1/16", True): 70}),
        ("0.5", {("3/4", False): 20, ("1/16", False): 4}),
        ("0.999", {("1/256", False): 3400}),
    ],
)
def test_an_honest_run_that_hits_few(floor: str, seen: dict[tuple[str, bool], int]) -> None:
    a, parts = mpf(floor), []
    for step in range(4):
        logarithm = mpf(0)
        for (text, hit), times in seen.items():
            luck = real(Fraction(text))
            if luck < a:
                d = luck + step * (a - luck) / 4
                logarithm += times * (mpmath.log(d / a) if hit else mpmath.log1p(-d) - mpmath.log1p(-a))
        parts.append(mpmath.exp(logarithm))
    outcomes = [(Fraction(luck), hit) for (luck, hit), times in seen.items() for _ in range(times)]
    value = sequential.honest_naturals_p(outcomes, Fraction(floor))
    assert_close(value, min(mpf(1), 4 / mpmath.fsum(parts)))
    assert sum(seen.values()) < 3400 or log10(value) < -10000
