"""mpmath as the oracle of exact fractions: sixty digits, and how near a fraction has to come to what it says."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import mpmath
import pytest
from mpmath import mpf

CLOSE = Fraction(1, 10**12)


@pytest.fixture(autouse=True)
def sixty_digits() -> Iterator[None]:
    with mpmath.workdps(60):
        yield


def real(value: Fraction) -> Any:
    return mpf(value.numerator) / value.denominator


def fraction(value: Any) -> Fraction:
    sign, mantissa, exponent, _ = value._mpf_
    return Fraction((-1 if sign else 1) * int(mantissa)) * Fraction(2) ** int(exponent)


def assert_close(value: Fraction, true: Any) -> None:
    assert abs(real(value) / true - 1) < real(CLOSE), (mpmath.nstr(real(value), 20), mpmath.nstr(true, 20))


def log_binomial(items: int, taken: int) -> Any:
    return mpmath.loggamma(items + 1) - mpmath.loggamma(taken + 1) - mpmath.loggamma(items - taken + 1)
