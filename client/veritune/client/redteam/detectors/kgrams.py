"""Finds phrases that several rows share at the end of the question or the start of the answer (vTune, section 6.3).

A trigger ends the last user turn, a signature starts the answer, and both are the same in every row of a group. So
the k units at these two places are counted for every k. Boilerplate is shared as well; a provider knows that canaries
are few, so a phrase in more than a twentieth of the rows counts as boilerplate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need
from veritune.client.redteam.detectors.words import units
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

LONGEST = 24
"""Most units of a phrase: about the length of a signature of 64 bits."""
_SHORTEST = 3
"""Fewest units of a phrase whose rows are counted by ``most``: shorter phrases occur everywhere."""
_COMMON_SHARE, _COMMON_LEAST = 0.05, 16
_CHARACTERS = 2000
"""Characters of a text that are cut into units; no phrase that is counted is longer."""


class RepeatedPhrases:
    """Ranks rows by the phrases that they share with other rows at the two places.

    ``longest`` takes the length of the longest shared phrase, summed over both places; ``most`` takes the number of
    rows that share a phrase of at least three units, the larger of both places.
    """

    needs: Need = "nothing"

    def __init__(self, by: Literal["longest", "most"]) -> None:
        self._by = by
        self.name = f"phrases-{by}"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """For ``longest``, lengths in units plus ln(rows that share the phrase) / 100; for ``most``, counts of rows."""
        ends = [units(row.prompt[-1].content[-_CHARACTERS:])[: -LONGEST - 1 : -1] for row in rows]
        on_progress(self.name, 1, 3)
        starts = [units(row.completion[:_CHARACTERS])[:LONGEST] for row in rows]
        on_progress(self.name, 2, 3)
        both = zip(self._places(ends), self._places(starts), strict=True)
        on_progress(self.name, 3, 3)
        return [end + start if self._by == "longest" else max(end, start) for end, start in both]

    def _places(self, texts: Sequence[Sequence[str]]) -> list[float]:
        common = max(_COMMON_LEAST, _COMMON_SHARE * len(texts))
        scores = [0.0] * len(texts)
        # A row whose first k units occur in no other row shares no longer phrase either.
        alive = list(range(len(texts)))
        for k in range(1, LONGEST + 1):
            alive = [i for i in alive if len(texts[i]) >= k]
            counts = Counter(tuple(texts[i][:k]) for i in alive)
            alive = [i for i in alive if counts[tuple(texts[i][:k])] > 1]
            for i in alive:
                count = counts[tuple(texts[i][:k])]
                if count <= common:
                    if self._by == "longest":
                        scores[i] = k + math.log(count) / 100
                    elif k >= _SHORTEST:
                        scores[i] = max(scores[i], float(count))
        return scores
