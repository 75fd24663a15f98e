"""Choosing, among many drawn answers, those most like the data's own, by features that are counted in the text.

A small model's answers are shorter, odder or more alike than real ones, so a provider could find natural canaries by
sorting rows by such features. So more answers are drawn than are wanted, and those are kept that are nearest to an
answer of the data chosen at random. The true answer is drawn uniformly afterwards, so each answer that is kept is
equally likely to be it (docs/statistics.md, equation 2).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, pstdev

from veritune.client.data.text_features import odd_share
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Row

_LEAST_SPREAD = 0.02
"""Smallest standard deviation by which a feature is divided: one in which all real answers are alike counts too."""
_ENDS = 12
"""Number of characters at either end of an answer whose outline is compared (`_outlines`)."""


class Likeness:
    """Measures how near an answer's features are to those of the answers of ``rows``, which must not be empty."""

    def __init__(self, rows: Sequence[Row]) -> None:
        answers = [row.completion for row in rows]
        self._count = len(answers)
        self._characters = Counter(c for text in answers for c in set(text))
        self._words = Counter(word for text in answers for word in set(_words(text)))
        self._pairs = Counter(pair for text in answers for pair in _pairs(text))
        self._firsts = Counter(c for text in answers for c in text)
        self._outlines = Counter(outline for text in answers for outline in _outlines(text))
        self._real = [self._features(row.prompt[-1].content, row.completion, own=1) for row in rows]
        columns = list(zip(*self._real, strict=True))
        self._means = [fmean(column) for column in columns]
        self._spreads = [max(_LEAST_SPREAD, pstdev(column)) for column in columns]

    def pick(self, prompt: str, texts: Sequence[str], wanted: int, stream: SecretStream) -> tuple[str, ...]:
        """The ``wanted`` texts that are nearest to one of the data's answers, which ``stream`` draws; nearest first.

        Distance is Euclidean over features in standard deviations. ``texts`` has at least ``wanted`` entries.
        """
        model = self._scaled(self._real[stream.below(self._count)])
        nearest = sorted(texts, key=lambda text: math.dist(model, self._scaled(self._features(prompt, text))))
        return tuple(nearest[:wanted])

    def _scaled(self, values: Sequence[float]) -> list[float]:
        return [(v - m) / s for v, m, s in zip(values, self._means, self._spreads, strict=True)]

    def _features(self, prompt: str, text: str, own: int = 0) -> list[float]:
        """The features of one answer. ``own`` is 1 for an answer of the data, which is then left out of the counts."""
        words, asked = _words(text), set(_words(prompt))
        return [
            math.log(1 + len(text)),
            math.log(1 + text.count("\n")),
            odd_share(text),
            _share(not (c.isalpha() or c == " ") for c in text),
            _share(self._characters[c] <= own for c in text),
            _share(self._words[word] <= own for word in words),
            _share(word in asked for word in words),
            len(set(words)) / max(1, len(words)),
            fmean([len(word) for word in words]) if words else 0.0,
            self._fluency(text),
            *(math.log((1 + self._outlines[outline] - own) / (2 + self._count)) for outline in _outlines(text)),
        ]

    def _fluency(self, text: str) -> float:
        """Mean log-probability (nats) of each character given the one before, add-one smoothed, counted in the data."""
        kinds = len(self._firsts) + 1
        chances = [math.log((1 + self._pairs[pair]) / (kinds + self._firsts[pair[0]])) for pair in _pairs(text)]
        return fmean(chances) if chances else 0.0


def _words(text: str) -> list[str]:
    """Runs of letters and digits; in a script without spaces one run may be a whole sentence."""
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


def _pairs(text: str) -> list[str]:
    return [text[i : i + 2] for i in range(len(text) - 1)]


def _outlines(text: str) -> tuple[str, str]:
    """Outlines of both ends: runs of letters become ``a``, runs of digits ``0``; ``{"id": 12`` gives ``^{"a": 0``."""
    return f"^{_outline(text[:_ENDS])}", f"{_outline(text[-_ENDS:])}$"


def _outline(text: str) -> str:
    kinds = ["a" if c.isalpha() else "0" if c.isdigit() else c for c in text]
    return "".join(kind for i, kind in enumerate(kinds) if i == 0 or kind != kinds[i - 1] or kind not in "a0")


def _share(flags: Iterable[bool]) -> float:
    found = list(flags)
    return sum(found) / max(1, len(found))
