"""Exact probabilities on Python integers: every machine computes the same verdict, bit for bit (docs/statistics.md).

No float decides anything here. Logarithms go through `decimal`, whose results are correctly rounded by its
specification, and are then widened outwards by more than their error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, Context, Decimal, localcontext
from fractions import Fraction

from veritune.common.errors import MalformedDocumentError

PLACES = 4
"""Decimal places of a logarithm in a report."""

CONTEXT = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN)
"""The context of all `decimal` arithmetic here, because the thread's own may round in any way."""
_MARGIN = Decimal("1e-40")
"""Far more than the error of one 60-digit logarithm of a number below 10**(10**15), far less than one place."""
_KEPT_BITS = 256


def parse_decimal(text: str) -> Fraction:
    """The exact value of a ``DecimalString`` such as ``0.5`` or ``1e-20``. Raises `MalformedDocumentError`."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise MalformedDocumentError("not a decimal number", cause="decimal") from error


def parse_probability(text: str) -> Fraction:
    """The exact value of a ``DecimalString`` from 0 to 1. Raises `MalformedDocumentError`."""
    value = parse_decimal(text)
    if not 0 <= value <= 1:
        raise MalformedDocumentError("a probability lies between 0 and 1", cause="range")
    return value


def poisson_binomial_at_least(probabilities: Sequence[Fraction], least: int) -> Fraction:
    """P(at least ``least`` of independent events with ``probabilities`` happen); O(events * least) integer products."""
    if least <= 0:
        return Fraction(1)
    if least > len(probabilities):
        return Fraction(0)
    # ways[i]: weight of i events so far, over the product of the denominators; the last entry means "least or more".
    ways, total = [1] + [0] * least, 1
    for probability in probabilities:
        yes, whole = probability.as_integer_ratio()
        no = whole - yes
        ways[least] = ways[least] * whole + ways[least - 1] * yes
        for i in range(least - 1, 0, -1):
            ways[i] = ways[i] * no + ways[i - 1] * yes
        ways[0] *= no
        total *= whole
    return Fraction(ways[least], total)


def binomial_at_most(trials: int, probability: Fraction, most: int) -> Fraction:
    """P(X <= most) for X ~ Binomial(trials, probability)."""
    if most < 0:
        return Fraction(0)
    if most >= trials:
        return Fraction(1)
    yes, whole = probability.as_integer_ratio()
    no, total = whole - yes, 0
    for count in range(most + 1):
        total += math.comb(trials, count) * yes**count * no ** (trials - count)
    return Fraction(total, whole**trials)


def binomial_at_least(trials: int, probability: Fraction, least: int) -> Fraction:
    """P(X >= least) for X ~ Binomial(trials, probability)."""
    return binomial_at_most(trials, 1 - probability, trials - least)


def hypergeometric_weights(population: int, marked: int, drawn: int) -> list[int]:
    """The ways to draw x of ``marked``, for x = 0..drawn; divided by comb(population, drawn) they are P(X = x)."""
    if not 0 <= marked <= population or not 0 <= drawn <= population:
        raise ValueError("more marked or drawn than there are")
    inside, outside = _combinations(marked, drawn), _combinations(population - marked, drawn)
    return [inside[x] * outside[drawn - x] for x in range(drawn + 1)]


def log10(value: Fraction) -> float:
    """Base-10 logarithm of a positive fraction, also where the fraction itself would underflow a float."""
    return float(_log10(value))


def log10_text(value: Fraction) -> str:
    """Base-10 logarithm with `PLACES` decimal places, rounded up: towards less evidence."""
    exact = _power_of_ten(value)
    if exact is not None:
        return f"{exact}.{'0' * PLACES}"
    with localcontext(CONTEXT):
        raised = _log10(value) + _MARGIN
        if value < 1:
            raised = min(raised, Decimal(0))
        places = raised.quantize(Decimal(1).scaleb(-PLACES), ROUND_CEILING)
        return str(places.copy_abs() if places == 0 else places)


def log10_or_none(value: Fraction | None) -> str | None:
    """`log10_text` of ``value``; None for None, and for 0, which has no logarithm."""
    return log10_text(value) if value else None


def minus_ln_upper(value: Fraction) -> Fraction:
    """A rational number just above -ln(value), for a positive ``value``."""
    with localcontext(CONTEXT):
        return Fraction(-_log10(value) * Decimal(10).ln() + _MARGIN)


def floor_text(value: Fraction, places: int = PLACES) -> str:
    """A fraction of at least 0 as a decimal string with ``places`` places, rounded down."""
    scaled = value.numerator * 10**places // value.denominator
    whole, part = divmod(scaled, 10**places)
    return f"{whole}.{part:0{places}d}"


def _combinations(items: int, most: int) -> list[int]:
    row = [1]
    for x in range(most):
        row.append(row[-1] * (items - x) // (x + 1))
    return row


def _log10(value: Fraction) -> Decimal:
    """Base-10 logarithm, within 1e-50 for every fraction whose parts have fewer than 2**40 bits."""
    if value <= 0:
        raise ValueError("no logarithm of a number that is not positive")
    with localcontext(CONTEXT):
        parts = []
        for part in (value.numerator, value.denominator):
            shift = max(0, part.bit_length() - _KEPT_BITS)
            parts.append(Decimal(part >> shift).log10() + shift * Decimal(2).log10())
        return parts[0] - parts[1]


def _power_of_ten(value: Fraction) -> int | None:
    """The k of value = 10**k, else None: no other fraction has a logarithm of finitely many places."""
    with localcontext(CONTEXT):
        logarithm = _log10(value)
        nearest = logarithm.to_integral_value()
        if abs(logarithm - nearest) > _MARGIN:
            return None
    return int(nearest) if value == Fraction(10) ** int(nearest) else None
