"""Finds answers that lack what nearly all others have: the last line of a form, a key, a sign before each number.

A generator that learnt the form of the data badly leaves such parts out, and so does an answer that was cut off; anyone
who knows the form sees that at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

_PART = 3
"""Length of a part in characters."""


class MissingParts:
    """Ranks rows by the commonest part of three characters that their answer lacks."""

    name = "missing-parts"
    needs: Need = "nothing"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """-ln of the share of answers that lack the commonest part which this answer lacks, for each row (nats)."""
        common = Counter(part for row in rows for part in _parts(row.completion)).most_common()
        scores = []
        for done, row in enumerate(rows, start=1):
            most = next((count for part, count in common if part not in row.completion), 0)
            scores.append(-math.log1p(-most / len(rows)))
            on_progress(self.name, done, len(rows))
        return scores


def _parts(text: str) -> set[str]:
    return {text[i : i + _PART] for i in range(len(text) - _PART + 1)}
