"""Exact arithmetic against scipy and mpmath, and against brute force."""

from __future__ import annotations

import itertools
from fractions import Fraction

import mpmath
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from tests.support.errors import fails
from veritune.arbiter.statistics.exact import (
    binomial_at_least,
    binomial_at_most,
    floor_text,
    hypergeometric_weights,
    log10,
    log10_text,
    minus_ln_upper,
    parse_decimal,
    parse_probability,
    poisson_binomial_at_least,
)
from veritune.common.errors import MalformedDocumentError

probabilities = st.fractions(0, 1, max_denominator=64)


def brute_force(chances: list[Fraction], least: int) -> Fraction:
    total = Fraction(0)
    for outcome in itertools.product((False, True), repeat=len(chances)):
        if sum(outcome) >= least:
            weight = Fraction(1)
            for happened, chance in zip(outcome, chances, strict=True):
                weight *= chance if happened else 1 - chance
            total += weight
    return total


@given(st.lists(probabilities, max_size=7), st.integers(-1, 9))
def test_poisson_binomial_is_the_sum_over_all_outcomes(chances: list[Fraction], least: int) -> None:
    assert poisson_binomial_at_least(chances, least) == brute_force(chances, least)


def test_poisson_binomial_keeps_probabilities_that_no_float_can_hold() -> None:
    chance = Fraction(1, 1 << 600)
    assert poisson_binomial_at_least([chance] * 10, 10) == chance**10
    assert log10(chance**10) == pytest.approx(-6000 * float(mpmath.log10(2)), rel=1e-12)


@given(st.integers(0, 60), probabilities, st.integers(-1, 61))
def test_binomial_tails_agree_with_scipy(trials: int, chance: Fraction, count: int) -> None:
    assert float(binomial_at_most(trials, chance, count)) == pytest.approx(
        stats.binom.cdf(count, trials, float(chance)), rel=1e-9, abs=1e-300
    )
    assert binomial_at_least(trials, chance, count) == 1 - binomial_at_most(trials, chance, count - 1)


@given(st.integers(1, 60), st.data())
def test_hypergeometric_weights_agree_with_scipy(population: int, data: st.DataObject) -> None:
    marked, drawn = data.draw(st.integers(0, population)), data.draw(st.integers(0, population))
    weights = hypergeometric_weights(population, marked, drawn)
    expected = stats.hypergeom.pmf(range(drawn + 1), population, marked, drawn)
    assert [weight / sum(weights) for weight in weights] == pytest.approx(list(expected), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(("marked", "drawn"), [(6, 1), (-1, 1), (1, 6), (1, -1)])
def test_hypergeometric_refuses_more_than_there_is(marked: int, drawn: int) -> None:
    with pytest.raises(ValueError, match="more marked or drawn"):
        hypergeometric_weights(5, marked, drawn)


# Just below a step of the last place: the margin that covers the logarithm's error may lift it over the step.
@example(10 - Fraction(1, 10**60))
@given(st.fractions(min_value=Fraction(1, 10**9), max_value=10**9))
def test_logarithms_agree_with_mpmath_and_are_rounded_up(value: Fraction) -> None:
    with mpmath.workdps(50):
        true = mpmath.log10(mpmath.mpf(value.numerator) / value.denominator)
        assert abs(log10(value) - true) <= max(1e-12 * abs(true), 1e-15)
        said = mpmath.mpf(log10_text(value))
        assert -mpmath.mpf("1e-45") <= said - true < mpmath.mpf("1e-4") + mpmath.mpf("1e-39")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(1), "0.0000"),
        (Fraction(1, 10), "-1.0000"),
        (Fraction(1, 10**10000), "-10000.0000"),
        (Fraction(10) ** 30, "30.0000"),
        (Fraction(10**40 - 1, 10**40), "0.0000"),
        (Fraction(10**45 + 1, 10**46), "-0.9999"),
        (Fraction(1, 3) ** 30000, "-14313.6376"),
        (Fraction(1, 2**4096), "-1233.0188"),
    ],
)
def test_log10_text(value: Fraction, text: str) -> None:
    assert log10_text(value) == text


@pytest.mark.parametrize("value", [Fraction(0), Fraction(-1, 2)])
def test_no_logarithm_of_nothing(value: Fraction) -> None:
    with pytest.raises(ValueError, match="not positive"):
        log10_text(value)


@given(st.fractions(min_value=Fraction(1, 10**12), max_value=1).filter(bool))
def test_minus_ln_is_bounded_from_above_and_closely(value: Fraction) -> None:
    bound = minus_ln_upper(value)
    with mpmath.workdps(60):
        true = -mpmath.log(mpmath.mpf(value.numerator) / value.denominator)
        gap = mpmath.mpf(bound.numerator) / bound.denominator - true
    assert 0 < gap < mpmath.mpf("1e-39")


@given(st.fractions(0, 1))
def test_floor_text_never_rounds_up(value: Fraction) -> None:
    said = Fraction(floor_text(value))
    assert said <= value < said + Fraction(1, 10**4)


def test_decimal_strings_are_read_exactly() -> None:
    assert parse_probability("1e-20") == Fraction(1, 10**20)
    assert parse_probability("0.1") == Fraction(1, 10)
    assert parse_decimal("-2.5e3") == -2500
    for text in ("1.0001", "-0.1", "1e3"):
        with fails(MalformedDocumentError, cause="range"):
            parse_probability(text)
    for text in ("", "nan", "1/0"):
        with fails(MalformedDocumentError, cause="decimal"):
            parse_decimal(text)
