"""Finds answers that begin with many signs and digits: a signature of unlikely tokens tends to look like that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from veritune.client.data.text_features import odd_share
from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.detectors.detector import Need
from veritune.common.dataset import Row

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel


class OddCharacters:
    """Ranks rows by `odd_share` of their answer."""

    name = "odd-characters"
    needs: Need = "nothing"

    def suspicion(
        self, rows: Sequence[Row], model: BaseModel | None = None, on_progress: Progress = no_progress
    ) -> list[float]:
        """The share (0 to 1) of odd characters at the start of each answer."""
        shares = [odd_share(row.completion) for row in rows]
        on_progress(self.name, len(rows), len(rows))
        return shares
