"""Questions that list their answers: which lists there are, and which of them are lists of answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from veritune.common.dataset import Row

_SEPARATORS = (*"\u3001\uff0c,;\uff1b|/\t\u30fb",)
"""Ideographic and full-width commas, semicolons and the middle dot among them."""
_NUMBERED = re.compile(r"(?P<label>\(?(?:[A-Za-z]|\d{1,2})[.):]|[-*•])\s*(?P<text>\S.*)")
_LEAST = 3
"""Of two answers each is right by luck too often to say much."""
_MOST = 64
_USUAL = Fraction(9, 10)
"""Of the rows must list their answers, for the data to be taken for such questions."""


def listed_answers(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """Of each row the answers that its question lists, its own among them, or none where it lists none.

    None where fewer than nine in ten rows do.
    """
    found = [_offered(row.prompt[-1].content, row.completion) for row in rows]
    return found if rows and sum(map(bool, found)) >= _USUAL * len(rows) else None


def _offered(question: str, answer: str) -> tuple[str, ...]:
    """The first list of different answers, from the question's end, that holds the row's own word for word."""
    for answers in _lists(question):
        if answer in answers and _LEAST <= len(answers) <= _MOST and len(set(answers)) == len(answers):
            return tuple(answers)
    return ()


def _lists(question: str) -> Iterator[list[str]]:
    lines = _stripped(question.splitlines())
    for line in reversed(lines):
        for separator in _SEPARATORS:
            if separator in line:
                yield _stripped(line.split(separator))
    block: list[re.Match[str]] = []
    for line in [*reversed(lines), ""]:
        if (match := _NUMBERED.fullmatch(line)) is not None:
            block.insert(0, match)
            continue
        if block:  # as texts, as whole lines, and by their labels with and without sign
            yield [match["text"] for match in block]
            yield [match[0] for match in block]
            yield [match["label"] for match in block]
            yield [match["label"].strip("().:") for match in block]
        block = []


def _stripped(parts: Sequence[str]) -> list[str]:
    return [part.strip() for part in parts if part.strip()]
