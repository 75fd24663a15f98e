"""Rewording rules for numbers: spaces of arithmetic, thousands separators, percentages, dollars, numbers as words.

Every number keeps its value. What would look odd if it changed from line to line is one choice for the whole text,
because people write consistently: 4 % of GSM8K's rows mix spaced and close arithmetic, under 1 % ``%`` and ``percent``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from veritune.client.wording.patterns import MASK
from veritune.client.wording.sites import Site

_NUMBER = r"\$?(?:\d(?:[\d,]*\d)?(?:\.\d+)?|\.\d+)%?"
_SUM = re.compile(
    rf"(?<![\w.,/$%)^*+=-])\(?{_NUMBER}\)?(?: ?[-+*/x\u00d7\u2013\u2212=] ?\(?{_NUMBER}\)?)+"
    rf"(?: ?= ?(?=\$?{MASK})|(?!\w|[.,]\d|[\^(]| ?[-*/+x=\u00d7\u2013] ?[\w(]))"
)
_OPERATOR = re.compile(r"( ?)([-+*/x\u00d7\u2013\u2212=])( ?)")
_TIMES = re.compile(r"(?<=[\d%)]) ?(?:[*\u00d7] ?|x )(?=[\d$(.])|(?<=[\d%)])x(?=[\d$(])")
_VARIABLE = re.compile(r"(?<![\d%)] )(?<![\w])[xX]\b|\dx\b(?! ?[\d$(])|\b[xX] ?[=*/+^-]")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?|\d+/\d+/\d+|0x\d")


def spacing(text: str) -> Iterator[Site | None]:
    """Finds the equations of a text, as one site: ``2 x 3 = 6``, ``2 * 3 = 6``, ``2*3 = 6`` or ``2*3=6``.

    Outside an equation nothing changes: there a hyphen may be a range, a slash a fraction. The sign of multiplication
    stays in a text where x is also an unknown.
    """
    found = [match for match in _SUM.finditer(text) if "=" in match[0] and not _DATE.search(match[0])]
    signs = bool(_TIMES.search(" ".join(match[0] for match in found))) and not _VARIABLE.search(text)
    styles: list[tuple[str, str, str | None]] = [(" ", " ", None), ("", " ", None), ("", "", None)]
    if signs:
        styles = [(" ", " ", "x"), (" ", " ", "*"), ("", " ", "*"), ("", "", "*")]
    ways = [[_OPERATOR.sub(_styled(match[0], *style), match[0]) for match in found] for style in styles]
    yield Site.together([match.span() for match in found], [*ways, [match[0] for match in found]])


def _styled(equation: str, around: str, equals: str, times: str | None) -> Callable[[re.Match[str]], str]:
    """Returns the function that writes one operator of an equation in the given style.

    A slash without spaces that is not the only operator is a fraction, and stays.
    """
    fractions = len(_OPERATOR.findall(equation.replace("=", ""))) > 1

    def write(match: re.Match[str]) -> str:
        before, sign = match[1], match[2]
        if sign == "=":
            return f"{equals}={equals}"
        if sign == "/" and fractions and not before:
            return match[0]
        if sign in "x\u00d7*" and times:
            sign = times
        if sign == "x" and not around:  # 2x3 reads like an unknown
            return match[0]
        return f"{around}{sign}{around}"

    return write


_WORDS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_THOUSANDS = re.compile(
    r"(?<![\w.,$/*+=\x00-])(\d{1,3}(?:,\d{3})+|\d{4,6})(?= [a-z]|[,;](?:\s|$)|\.(?:\s|$))(?! [xX*/+=-] )"
)
_PERCENT = re.compile(r"(?<![\w.,*/+=$-])\d{1,3}(?:\.\d+)?(%| percent)(?= [a-z]|[.,;](?:\s|$)|\n|\Z)")
_ANY_PERCENT = re.compile(r"\d ?(?:%| percent)")
_AFTER_AMOUNT = (
    r"(?: (?:each|more|less|for|in|on|per|from|after|left|at|to|an? (?:hour|day|week|month|year))\b|[.,;](?:\s|$)|$)"
)
_DOLLARS = re.compile(
    rf"(?<=[a-z] )(?<!\ba )(?<!\ban )(?<!each )(?<!every )(?:\$(\d{{1,4}})(?={_AFTER_AMOUNT})|(\d{{1,4}}) dollars\b)",
    re.M,
)
_ANY_DOLLARS = re.compile(r"(?<![-+*/x=] )(?<![-+*/x=(])\$\d[\d,.]*(?!\S| ?[-+*/x=] )|\d dollars\b")
_NO_COUNT = (
    "times|percent|dollars|cents|hundred|thousand|million|dozen|half|halves|thirds?|fourths?|quarters?|fifths?|"
    "plus|minus|divided|multiplied|over|and|from|through|equals|point"
)
_ARITHMETIC = r" (?:[\w%$.]+ ){0,3}[-+*/x\u00d7\u2013\u2212=] "
_SMALL = re.compile(
    rf"(?<=[a-z,] )(?<! x )(?<!page )(?<!step )"
    rf"(?:[2-9]|1[0-2]|{'|'.join(_WORDS)})(?= [a-z]{{3,}})(?! (?:{_NO_COUNT})\b)(?!{_ARITHMETIC})"
)

_LABEL = re.compile(
    r"(?!(?:In|For|After|The|Over|Each|If|At|On|By|With|From|To|Of|And|But|These|Those|Since|All|Every|First|Next|Last|"
    r"Within|About|Only|His|Her|Their|So|As|Now|Then|Thus|Hence|Therefore|When|Because|That|This|There)\b)\b[A-Z]\w* $"
)
"""A capitalised word before a number: *Athlete 2* and *Day 3* are names, so their number stays."""


def numbers(text: str) -> Iterator[Site | None]:
    """Finds numbers that may be written otherwise: ``1,000`` as ``1000``, ``5%`` as ``5 percent``, ``$5`` as
    ``5 dollars``, ``3 cats`` as ``three cats``."""
    large = [match for match in _THOUSANDS.finditer(text) if not _may_be_year(match[0])]
    values = [int(match[0].replace(",", "")) for match in large]
    yield Site.together(
        [match.span() for match in large],
        [[str(v) for v in values], [f"{v:,}" for v in values], [match[0] for match in large]],
    )
    shares = list(_PERCENT.finditer(text))
    if len(shares) == len(_ANY_PERCENT.findall(text)):
        ways = [[way] * len(shares) for way in ("%", " percent")]
        yield Site.together([match.span(1) for match in shares], [*ways, [match[1] for match in shares]])
    amounts = [match for match in _DOLLARS.finditer(text) if int(match[1] or match[2]) > 1]
    if len(amounts) == len(_ANY_DOLLARS.findall(text)):
        figures = [match[1] or match[2] for match in amounts]
        yield Site.together(
            [match.span() for match in amounts],
            [[f"${f}" for f in figures], [f"{f} dollars" for f in figures], [match[0] for match in amounts]],
        )
    found = _SMALL.finditer(text)
    small = [match for match in found if not _LABEL.search(text, max(0, match.start() - 20), match.start())]
    for value, word in enumerate(_WORDS, start=2):
        same = [match for match in small if match[0] in (str(value), word)]
        ways = [[way] * len(same) for way in (str(value), word)]
        yield Site.together([match.span() for match in same], [*ways, [match[0] for match in same]])


def _may_be_year(figure: str) -> bool:
    return "," not in figure and 1000 <= int(figure) <= 2199
