"""Finds answers whose loss one cheap epoch lowers by more, or less, than that of others.

A large drop is suspect: text that occurs in several rows is learnt first. If the rows share a form that is learnt
within the epoch, a drawn answer's loss drops less than theirs instead, which the report's other direction shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need, finite, needed
from veritune.client.redteam.detectors.perplexity import mean_losses
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel


class LossDrop:
    """Ranks rows by the drop of their mean loss over one epoch of LoRA (`generation.fitting`) on all of them.

    A provider that does this has paid for one epoch, and still saves if the contract asks for more.
    """

    name = "loss-drop"
    needs: Need = "training"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """Mean loss before training minus mean loss after, in nats a token. Raises as `Detector.suspicion` does."""
        base = needed(model)
        if not rows:
            return []
        before = mean_losses(rows, base, on_progress, f"{self.name}: before")
        with base.fitted(rows, on_progress, self.name):
            after = mean_losses(rows, base, on_progress, f"{self.name}: after")
        return finite(a - b for a, b in zip(before, after, strict=True))
