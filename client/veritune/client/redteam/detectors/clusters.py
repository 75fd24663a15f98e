"""Finds rows far from their cluster and rows with close neighbours, by TF-IDF over pieces of words (scikit-learn)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from veritune.client.extras import library
from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need, finite
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

EDGE = 400
"""Characters of the end of a question and of the start of an answer that are used: canaries are there, and long rows
then cost no more than others."""
_FEATURES = 20_000
_FEWEST = 4
_NEIGHBOURS = 4


class Clusters:
    """Ranks rows by their distance to the centre of their own cluster, odd ones first.

    About sqrt(n / 2) clusters, a usual rule of thumb; the same rows give the same clusters.
    """

    name = "clusters"
    needs: Need = "nothing"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """The Euclidean distance of each row's TF-IDF vector, of length 1, to its cluster's centre.

        Raises `MissingExtraError`. All are 0 if there are fewer than four rows, or none with text to compare.
        """
        cluster = library("sklearn.cluster", "redteam")
        vectors = _vectors(rows)
        if vectors is None:
            return [0.0] * len(rows)
        on_progress(self.name, 1, 2)
        means = cluster.MiniBatchKMeans(n_clusters=max(2, math.isqrt(len(rows) // 2)), n_init=3, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer different rows than clusters
            distances = means.fit_transform(vectors).min(axis=1)
        on_progress(self.name, 2, 2)
        return finite(distances)


class Neighbours:
    """Ranks rows by the mean similarity to their four nearest neighbours: rows of a trigger group are alike."""

    name = "neighbours"
    needs: Need = "nothing"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """The mean cosine similarity of each row to its nearest neighbours, from 0 to 1.

        Raises `MissingExtraError`. All are 0 if there are fewer than four rows, or none with text to compare.
        """
        search = library("sklearn.neighbors", "redteam")
        vectors = _vectors(rows)
        if vectors is None:
            return [0.0] * len(rows)
        on_progress(self.name, 1, 2)
        nearest = search.NearestNeighbors(metric="cosine", algorithm="brute").fit(vectors)
        # Without an argument a row is not counted as its own neighbour.
        distances, _ = nearest.kneighbors(n_neighbors=min(_NEIGHBOURS, len(rows) - 1))
        on_progress(self.name, 2, 2)
        return finite(1 - distances.mean(axis=1))


def _vectors(rows: Sequence[Row]) -> Any:
    """A sparse [rows, pieces] matrix of vectors of length 1; None if there are too few rows or no pieces of words."""
    text = library("sklearn.feature_extraction.text", "redteam")
    if len(rows) < _FEWEST:
        return None
    vectorizer = text.TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, max_features=_FEATURES)
    try:
        return vectorizer.fit_transform([edges(row) for row in rows])
    except ValueError:
        return None


def edges(row: Row) -> str:
    """The end of the last user turn and the start of the answer."""
    return f"{row.prompt[-1].content[-EDGE:]}\n{row.completion[:EDGE]}"
