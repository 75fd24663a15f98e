"""Every tail of a fixed challenge against mpmath: twelve digits from near 1 down to 1e-10000, where no float is left.

The formulas here are other ones than the code's: incomplete beta functions, discrete Fourier transforms, a recurrence
for the powers of a polynomial, logarithms of gamma functions. Numbers in brackets are equations of docs/statistics.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import pytest
from mpmath import mpf

from tests.support.mpmath_oracle import CLOSE, assert_close, fraction, log_binomial, real
from tests.support.mpmath_oracle import sixty_digits as sixty_digits  # a fixture
from veritune.arbiter.statistics import coverage, influence
from veritune.arbiter.statistics.exact import (
    binomial_at_least,
    binomial_at_most,
    hypergeometric_weights,
    log10,
    log10_text,
    minus_ln_upper,
    poisson_binomial_at_least,
)
from veritune.arbiter.statistics.influence import (
    EXACT_BITS,
    GroupResult,
    Ranked,
    RankNull,
    combine,
    rank_p,
    rank_sum,
    trigger_p,
)
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.common.documents.manifest import Policy

pytestmark = pytest.mark.heavy

# --- binomial tails, (6) -------------------------------------------------------------------------------------------


def binomial_tail(trials: int, chance: Fraction, least: int) -> Any:
    """P(X >= least) = I_p(least, trials - least + 1), the regularised incomplete beta function."""
    if least <= 0:
        return mpf(1)
    if least > trials:
        return mpf(0)
    return mpmath.betainc(least, trials - least + 1, 0, real(chance), regularized=True)


@pytest.mark.parametrize(
    ("trials", "chance"),
    [(1, "1/3"), (24, "1/12"), (64, "9/10"), (128, "7/10"), (400, "1/256"), (400, "99/100"), (400, "999999/1000000")],
)
def test_binomial_tails_and_what_they_leave_to_one(trials: int, chance: str) -> None:
    p = Fraction(chance)
    for count in sorted({*range(0, trials + 1, max(1, trials // 25)), 1, trials - 1, trials}):
        assert_close(binomial_at_least(trials, p, count), binomial_tail(trials, p, count))
        assert_close(binomial_at_most(trials, p, count - 1) + 1, binomial_tail(trials, 1 - p, trials - count + 1) + 1)
        if count:
            below = binomial_tail(trials, 1 - p, trials - count + 1)
            assert_close(binomial_at_most(trials, p, count - 1), below)
            assert_close(1 - binomial_at_least(trials, p, count), below)


@pytest.mark.parametrize(("trials", "least"), [(4160, 4160), (4160, 4150), (4400, 4200), (3000, 600)])
def test_binomial_tails_that_no_float_can_hold(trials: int, least: int) -> None:
    p = Fraction(1, 256)
    value = binomial_at_least(trials, p, least)
    assert_close(value, binomial_tail(trials, p, least))
    assert_close(binomial_at_most(trials, 1 - p, trials - least), binomial_tail(trials, p, least))
    assert float(value) == 0
    assert log10(value) == pytest.approx(float(mpmath.log10(binomial_tail(trials, p, least))), rel=1e-12)


# --- sums of unequal events, (1) -----------------------------------------------------------------------------------


def fourier_tail(chances: Sequence[Fraction], least: int) -> Any:
    """P(at least ``least``) from the characteristic function at the roots of unity."""
    n = len(chances)
    with mpmath.workdps(300):
        points = [mpmath.expjpi(mpf(2 * step) / (n + 1)) for step in range(n + 1)]
        values = [mpmath.fprod(1 + (point - 1) * real(chance) for chance in chances) for point in points]
        total = mpf(0)
        for count in range(least, n + 1):
            total += mpmath.re(sum(values[i] * points[-i * count % (n + 1)] for i in range(n + 1))) / (n + 1)
        return total


@pytest.mark.parametrize(
    "chances",
    [
        [Fraction(place, 20) for place in range(1, 20)],
        [Fraction(300, 1 << bits) for bits in range(20, 68, 4)],
        [Fraction(1, 10**9), 1 - Fraction(1, 10**9), Fraction(1, 2), Fraction(1), Fraction(1, 3)],
    ],
)
def test_poisson_binomial_tails_agree_with_the_fourier_transform(chances: list[Fraction]) -> None:
    for least in range(1, len(chances) + 1):
        assert_close(poisson_binomial_at_least(chances, least), fourier_tail(chances, least))
        with mpmath.workdps(300):
            left = 1 - fourier_tail(chances, least)
        if abs(left) > mpf(10) ** -200:
            assert_close(1 - poisson_binomial_at_least(chances, least), left)


def two_kinds_tail(kinds: Sequence[tuple[int, Fraction]], least: int) -> Any:
    """P(X + Y >= least) for two binomials: over Y, an incomplete beta function for X."""
    (first, chance), (second, other) = kinds
    p = real(other)
    return mpmath.fsum(
        mpmath.exp(log_binomial(second, y) + y * mpmath.log(p) + (second - y) * mpmath.log1p(-p))
        * binomial_tail(first, chance, least - y)
        for y in range(second + 1)
    )


@pytest.mark.parametrize("bits", [16, 64, 512])
@pytest.mark.parametrize("found", [1, 20, 63, 64])
def test_trigger_groups_down_to_what_sixty_four_of_them_prove(bits: int, found: int) -> None:
    """Half the groups have two queries, half three; the factor of (1) and its cap at 1 besides."""
    groups = [GroupResult(2 + number % 2, bits, 150 - number, number < found) for number in range(64)]
    kinds = [(32, Fraction(queries * 150, 1 << bits)) for queries in (2, 3)]
    value = trigger_p(groups)
    assert_close(value, min(mpf(1), 64 * two_kinds_tail(kinds, found)))
    if bits == 512 and found == 64:
        assert log10(value) < -9600


def test_a_tail_at_1e_10000() -> None:
    chance = Fraction(1, 10**100)
    assert_close(100 * poisson_binomial_at_least([chance] * 103, 100), 100 * binomial_tail(103, chance, 100))
    assert -10000 < log10(poisson_binomial_at_least([chance] * 103, 100)) < -9990


# --- the rank sum, (2) ---------------------------------------------------------------------------------------------


@cache
def weights_of(candidates: int) -> tuple[int, ...]:
    """floor(8 log2(N / r)) by logarithms; those within 1e-40 of a whole number are one."""
    values = []
    for rank in range(1, candidates + 1):
        eighths = 8 * mpmath.log(mpf(candidates) / rank, 2)
        near = mpmath.nint(eighths)
        values.append(int(near if abs(eighths - near) < mpf(10) ** -40 else mpmath.floor(eighths)))
    return tuple(values)


@cache
def falling_short(candidates: int, canaries: int, most: int) -> tuple[Any, ...]:
    """P(sum = largest - k) for k = 0..most: the coefficients of a power of a polynomial, by Euler's recurrence.

    k a_0 c_k = sum over i of ((n + 1) i - k) a_i c_(k - i). Terms cancel, hence the many digits; a test sees that
    they were enough by the sum of all coefficients.
    """
    with mpmath.workdps(60 + canaries):
        return tuple(_by_recurrence(candidates, canaries, most))


def _by_recurrence(candidates: int, canaries: int, most: int) -> list[Any]:
    weights = weights_of(candidates)
    ways = Counter(weights[0] - weight for weight in weights)
    gaps = sorted((gap, times) for gap, times in ways.items() if gap)
    found = [(mpf(ways[0]) / candidates) ** canaries]
    for k in range(1, min(most, weights[0] * canaries) + 1):
        terms = mpf(0)
        for gap, times in gaps:
            if gap > k:
                break
            terms += ((canaries + 1) * gap - k) * times * found[k - gap]
        found.append(terms / (k * ways[0]))
    return found


@pytest.mark.parametrize(("candidates", "canaries"), [(2, 30), (12, 24), (16, 48), (32, 96), (256, 80)])
def test_the_rank_sum_agrees_with_eulers_recurrence(candidates: int, canaries: int) -> None:
    largest = weights_of(candidates)[0] * canaries
    points, null = falling_short(candidates, canaries, largest), RankNull({candidates: canaries})
    assert null._distribution is not None
    assert abs(mpmath.fsum(points) - 1) < mpf(10) ** -40
    for short in sorted({*range(0, largest, max(1, largest // 60)), 1, largest - 1}):
        assert_close(null.at_least(largest - short), mpmath.fsum(points[: short + 1]))
    for seen in (1, largest // 20):  # near 1: what is left below the sum
        assert_close(1 - null.at_least(seen), mpmath.fsum(points[largest - seen + 1 :]))
    assert null.at_least(0) == 1


def test_the_rank_sum_of_canaries_with_different_numbers_of_candidates() -> None:
    kinds = {12: 24, 16: 48}
    tops = {candidates: weights_of(candidates)[0] * count for candidates, count in kinds.items()}
    first, second = (falling_short(candidates, count, tops[candidates]) for candidates, count in kinds.items())
    below = [mpf(0)]
    for point in first:
        below.append(below[-1] + point)
    null, largest = RankNull(kinds), sum(tops.values())
    for short in range(0, largest, 97):
        pairs = ((k, min(short - k + 1, len(first))) for k in range(min(short, len(second) - 1) + 1))
        assert_close(null.at_least(largest - short), mpmath.fsum(second[k] * below[upto] for k, upto in pairs))


def test_chernoffs_bound_of_400_canaries_is_one_and_near() -> None:
    """256 candidates each, down to 1e-963: too large for the exact distribution, not for the recurrence."""
    candidates, canaries = 256, 400
    largest = weights_of(candidates)[0] * canaries
    null = RankNull({candidates: canaries})
    assert null._distribution is None
    points = falling_short(candidates, canaries, largest * 4 // 5)
    tail, loosest = mpf(0), mpf(0)
    for short, point in enumerate(points):
        tail += point
        if short % 320 == 0:
            bound = real(null.at_least(largest - short))
            assert tail <= bound <= 1
            loosest = max(loosest, mpmath.log10(bound / tail))
    assert tail > mpf(10) ** -6  # so the walk went from everything first to nearly what chance gives
    # One decade is rounding; the rest is the inequality itself and the steps of its grid, 3.4 at most here.
    assert loosest < 5


@pytest.mark.parametrize("canaries", [1000, 4160])
def test_chernoffs_bound_at_the_far_end(canaries: int) -> None:
    """All first but for one or two second places, which weigh 8 less: by hand, down to 1e-10018."""
    all_first = mpf(256) ** -canaries
    null, largest = RankNull({256: canaries}), 64 * canaries
    assert null._distribution is None
    for short, ways in ((0, 1), (8, 1 + canaries)):
        bound = null.at_least(largest - short)
        assert 0 <= mpmath.log10(real(bound) / (ways * all_first)) < 2 + mpf(canaries) / 500
        assert float(bound) == 0


@pytest.mark.parametrize(("candidates", "canaries"), [(16, 170), (256, 88)])
def test_both_forms_of_the_rank_sum_meet_where_one_takes_over(
    candidates: int, canaries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = RankNull({candidates: canaries})
    assert exact._distribution is not None
    monkeypatch.setattr(influence, "EXACT_BITS", 0)
    bounded = RankNull({candidates: canaries})
    assert bounded._distribution is None
    largest = weights_of(candidates)[0] * canaries
    assert (canaries * math.log2(candidates) + 2) * (largest + 1) > 0.6 * EXACT_BITS
    for seen in range(0, largest + 1, largest // 40):
        true, bound = exact.at_least(seen), bounded.at_least(seen)
        assert true <= bound <= 1
        assert log10(bound) - log10(true) < 4


# --- both tests together, (3), and logarithms ----------------------------------------------------------------------

SMALL = [
    Fraction(1, 10**10000),
    Fraction(3, 7 * 10**9999),
    Fraction(1, 256**4152),
    Fraction(2, 3) ** 40000,
    Fraction(1, 2**512),
    Fraction(7, 10**21),
    Fraction(1, 3),
    Fraction(9, 10),
    1 - Fraction(1, 10**9),
    1 - Fraction(1, 10**18),
]


@pytest.mark.parametrize("first", SMALL)
@pytest.mark.parametrize("second", [SMALL[0], SMALL[4], SMALL[6], SMALL[9], Fraction(1)])
def test_the_combination_of_two_p_values(first: Fraction, second: Fraction) -> None:
    with mpmath.workdps(100):
        x = real(first * second)
        value, true = combine(first, second), x * (1 - mpmath.log(x))
        assert_close(value, true)
        assert real(value) >= true


@pytest.mark.parametrize("value", [*SMALL, Fraction(3, 10**99999), Fraction(10**5000, 7), 1 - Fraction(1, 10**30)])
def test_logarithms(value: Fraction) -> None:
    with mpmath.workdps(100):
        true = mpmath.log10(real(value))
        assert abs(mpf(log10(value)) / true - 1) < real(CLOSE)
        said = mpf(log10_text(value))
        assert true - mpf(10) ** -90 <= said < true + mpf("1e-4") + mpf(10) ** -38


@pytest.mark.parametrize("value", [*SMALL, Fraction(1, 3 * 10**100_000)])
def test_natural_logarithms_are_rounded_up_and_by_little(value: Fraction) -> None:
    with mpmath.workdps(100):
        bound, true = real(minus_ln_upper(value)), -mpmath.log(real(value))
        assert 0 < bound - true < mpf(10) ** -39
        assert bound / true - 1 < real(CLOSE)


# --- coverage, (4) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("population", "marked", "drawn"), [(295, 147, 72), (2000, 1600, 64), (20000, 10000, 3000), (20000, 3, 400)]
)
def test_hypergeometric_weights_agree_with_gamma_functions(population: int, marked: int, drawn: int) -> None:
    weights, whole = hypergeometric_weights(population, marked, drawn), math.comb(population, drawn)
    smallest = 0.0
    for x in sorted({*range(0, drawn + 1, max(1, drawn // 50)), drawn}):
        if x > marked or drawn - x > population - marked:
            assert weights[x] == 0
            continue
        point = mpmath.exp(
            log_binomial(marked, x) + log_binomial(population - marked, drawn - x) - log_binomial(population, drawn)
        )
        assert_close(Fraction(weights[x], whole), point)
        smallest = min(smallest, log10(Fraction(weights[x], whole)))
    assert smallest < -900 or drawn < 3000


def coverage_tail(rows: int, trained: int, asked: int, hits: int, luck: Fraction) -> Any:
    """P(hits or more) of (4), and what it leaves to 1."""
    tail, left = mpf(0), mpf(0)
    for kept in range(max(0, asked - (rows - trained)), min(asked, trained) + 1):
        weight = mpmath.exp(
            log_binomial(trained, kept) + log_binomial(rows - trained, asked - kept) - log_binomial(rows, asked)
        )
        tail += weight * binomial_tail(asked - kept, luck, hits - kept)
        if kept < hits:
            left += weight * binomial_tail(asked - kept, 1 - luck, asked - hits + 1)
    return tail, left


@pytest.mark.parametrize(
    ("rows", "trained", "asked", "hits", "luck"),
    [
        (2000, 1500, 64, 60, "1/12"),
        (2000, 1000, 64, 10, "1/12"),
        (2000, 1999, 64, 64, "1/12"),
        (2000, 0, 64, 64, "1/12"),
        (295, 60, 72, 50, "3/16"),
        (295, 240, 24, 23, "1/32"),
        (10_000, 2000, 400, 380, "1/256"),
        (10_000, 0, 400, 400, "1/256"),
        (6000, 2, 4160, 4160, "1/256"),
    ],
)
def test_rows_are_ruled_out_on_the_right_side_of_the_tail(
    rows: int, trained: int, asked: int, hits: int, luck: str
) -> None:
    """With a doubt one part in 10**12 above the tail these rows are ruled out, as much below it they are not."""
    tail, left = coverage_tail(rows, trained, asked, hits, Fraction(luck))
    for sign in (1, -1):
        if tail < mpf(1) / 2:
            confidence = 1 - fraction(tail) * (1 + sign * CLOSE)
        else:  # near 1 the digits of what is left count
            confidence = fraction(left) * (1 - sign * CLOSE)
        bound = coverage.coverage_bound(rows, asked, hits, Fraction(luck), confidence)
        assert (bound.rows_least > trained) == (sign == 1)


# --- a whole verdict -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopping", ["fixed", "sequential"])
def test_a_verdict_at_1e_10000_says_no_more_than_it_may(stopping: str) -> None:
    """64 groups of 512 bits, all found, and 400 canaries of 256 candidates, all first."""
    groups, ranked = [GroupResult(2, 512, 150, True)] * 64, [Ranked(1, 256)] * 400
    look = Look("delivered", tuple(GroupLook(g, 2, 2, 2, True) for g in groups), tuple(ranked), 4, 0, 0)
    claim = judge(Policy(stopping=stopping), 10_000, [look]).modes[0].influence  # type: ignore[arg-type]
    if stopping == "fixed":
        triggers = 64 * (mpf(300) / mpf(2) ** 512) ** 64
        ranks = mpf(256) ** -400
        x = triggers * ranks
        p, slack = x * (1 - mpmath.log(x)), mpf(2)  # Chernoff's part of it
        assert rank_sum(ranked) == 64 * 400
        assert_close(trigger_p(groups), triggers)
        assert 0 <= mpf(str(log10(rank_p(ranked)))) - mpmath.log10(ranks) < slack
    else:
        f = mpf("0.99")  # the other bets are below one part in 10**15 of this one
        bet = 256 * (f + (1 - f) / mpmath.harmonic(256))
        evidence = (mpf(1) / 2 + mpf(2) ** 512 / (600 * mpf("8.872"))) ** 64 * bet**400 / 6
        p, slack = 1 / evidence, mpf("1e-4")
    assert claim.log10_p_triggers is not None
    assert float(claim.log10_p_triggers) < -9600
    assert 0 <= mpf(claim.log10_p) - mpmath.log10(p) < slack
    assert mpf(claim.log10_p) < -10500
