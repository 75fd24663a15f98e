"""Finds rows that contain another row: a trigger group is sown into copies of rows that stay in the data.

How much of one row another one contains is counted exactly, over all pairs that share a word 3-gram, by a product of
sparse matrices (scikit-learn and scipy). MinHash would estimate the Jaccard index instead, by which a short row with a
long signature is far from its original.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from veritune.client.extras import library
from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need
from veritune.client.redteam.detectors.words import units
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

_SHINGLE = 3
_CHARACTERS = 4000
"""Characters of each turn that are used, half from either end: enough to recognise a copy."""
_COMMON_SHARE, _COMMON_LEAST, _COMMON_MOST = 0.02, 16, 200
"""A 3-gram is boilerplate if it occurs in more rows than this share of all, but at least and at most these numbers."""
_DOUBT = 5
"""Shared 3-grams that count as missing, because rows of few words may share all of theirs without being copies."""
_AT_ONCE = 256


class NearDuplicates:
    """Ranks rows by the largest share of another row, no longer than themselves, that they contain."""

    name = "near-duplicates"
    needs: Need = "nothing"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """The share that each row contains of another: from 0, nothing, to almost 1, all of a long row.

        Raises `MissingExtraError`.
        """
        text, numpy = library("sklearn.feature_extraction.text", "redteam"), library("numpy", "redteam")
        if not rows:
            return []
        vectorizer = text.CountVectorizer(analyzer=_shingles, binary=True, dtype=numpy.int32)
        try:
            held = vectorizer.fit_transform(rows)
        except ValueError:  # no row has three words
            return [0.0] * len(rows)
        common = max(_COMMON_LEAST, min(_COMMON_MOST, int(_COMMON_SHARE * len(rows))))
        held = held[:, numpy.asarray(held.sum(axis=0)).ravel() <= common].tocsr()
        return self._containment(held, numpy, on_progress)

    def _containment(self, held: Any, numpy: Any, on_progress: Progress) -> list[float]:
        """The suspicion of each row; ``held`` is a sparse [rows, 3-grams] matrix of 0 and 1."""
        count = held.shape[0]
        sizes = numpy.asarray(held.sum(axis=1)).ravel()
        best, across = numpy.zeros(count), held.T.tocsc()
        for start in range(0, count, _AT_ONCE):
            shared = (held[start : start + _AT_ONCE] @ across).tocoo()
            mine, other = shared.row + start, shared.col
            counted = (mine != other) & (sizes[other] <= sizes[mine])
            mine, other = mine[counted], other[counted]
            numpy.maximum.at(best, mine, shared.data[counted] / (sizes[other] + _DOUBT))
            on_progress(self.name, min(start + _AT_ONCE, count), count)
        return [float(value) for value in best]


def _shingles(row: Row) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for message in (row.prompt[-1], row.messages[-1]):
        text, half = message.content, _CHARACTERS // 2
        words = units(text if len(text) <= _CHARACTERS else f"{text[:half]} {text[-half:]}")
        found.update(zip(*(words[place:] for place in range(_SHINGLE)), strict=False))
    return found
