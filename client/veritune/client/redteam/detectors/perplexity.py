"""Finds answers of high loss under the base model: a signature is unlikely by design.

A provider can't know whether sown rows have a higher or a lower loss than others; here a high one is suspect. Natural
canaries were written by a model and may have a lower one, which the report's other direction shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need, finite, needed
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

START_TOKENS = 32
"""Tokens of an answer that ``perplexity-start`` uses: about the length of a signature of 64 bits."""


class Perplexity:
    """Ranks rows by the mean loss of the answer's tokens, or of the first ``most`` of them."""

    needs: Need = "model"

    def __init__(self, name: str = "perplexity", most: int | None = None) -> None:
        self.name, self._most = name, most

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """The mean loss of each answer in nats a token. Raises as `Detector.suspicion` does."""
        return finite(mean_losses(rows, needed(model), on_progress, self.name, self._most))


def mean_losses(
    rows: Sequence[Row], model: BaseModel, on_progress: Progress, name: str, most: int | None = None
) -> list[float]:
    """The mean loss (nats a token) of each answer, or of its first ``most`` tokens. Raises `RowsError`."""
    result = []
    for number, row in enumerate(rows, start=1):
        losses = model.losses(row)[:most]
        result.append(math.fsum(losses) / len(losses))
        on_progress(name, number, len(rows))
    return result
