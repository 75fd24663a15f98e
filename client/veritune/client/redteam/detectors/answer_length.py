"""Answers longer than others: a signature adds to them. Those that a small model wrote tend to be shorter instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel


class AnswerLength:
    """Ranks rows by the length of their answer, long ones first."""

    name = "answer-length"
    needs: Need = "nothing"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """Characters."""
        on_progress(self.name, len(rows), len(rows))
        return [float(len(row.completion)) for row in rows]
