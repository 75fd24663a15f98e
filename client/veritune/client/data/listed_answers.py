"""Finds the answers that multiple-choice questions list in their text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from veritune.common.dataset import Row

_SEPARATORS = (*"\u3001\uff0c,;\uff1b|/\t\u30fb",)
"""Characters between the answers of a list on one line, in Western and East Asian writing."""
_NUMBERED = re.compile(r"(?P<label>\(?(?:[A-Za-z]|\d{1,2})[.):]|[-*•])\s*(?P<text>\S.*)")
_LEAST = 3
"""Fewest answers of a list. One of two answers is right by luck too often."""
_MOST = 64
_USUAL = Fraction(9, 10)
"""Least share of rows that must list their answers, for the data to count as multiple choice."""


def listed_answers(rows: Sequence[Row]) -> list[tuple[str, ...]] | None:
    """For each row, the answers that its question lists, the row's own answer among them; empty if it lists none.

    Returns None if fewer than nine in ten rows list their answers: the data are not multiple choice.
    """
    found = [_offered(row.prompt[-1].content, row.completion) for row in rows]
    return found if rows and sum(map(bool, found)) >= _USUAL * len(rows) else None


def _offered(question: str, answer: str) -> tuple[str, ...]:
    """The first list of `_lists` whose answers all differ and include ``answer`` word for word; else empty."""
    for answers in _lists(question):
        if answer in answers and _LEAST <= len(answers) <= _MOST and len(set(answers)) == len(answers):
            return tuple(answers)
    return ()


def _lists(question: str) -> Iterator[list[str]]:
    """Every list in a question, from its end: first lines cut at separators, then blocks of numbered lines."""
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
