"""Answers that one cheap epoch moves otherwise than the rest.

The rule is that a large drop is suspect: what stands in several rows is learnt first. Where the rows share a form that
is learnt within the epoch, a drawn answer drops less than they do instead, which the report's other direction shows.
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
    """Ranks rows by mean loss before less mean loss after one epoch of LoRA (`generation.fitting`) on them all.

    A provider that does this has paid for an epoch; where the contract asks for more it may still save by it.
    """

    name = "loss-drop"
    needs: Need = "training"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """Nats a token."""
        base = needed(model)
        if not rows:
            return []
        before = mean_losses(rows, base, on_progress, f"{self.name}: before")
        with base.fitted(rows, on_progress, self.name):
            after = mean_losses(rows, base, on_progress, f"{self.name}: after")
        return finite(a - b for a, b in zip(before, after, strict=True))
